"""The models that a peer-to-peer run has trained: measure them, use their mean."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from covey.federation.apps.models import make_model
from covey.federation.apps.task import tensors
from covey.federation.data import load, spec_of
from covey.federation.p2p.batched import vectors_of
from covey.federation.p2p.built_in import Task, views
from covey.federation.p2p.links import Rows
from covey.federation.p2p.measuring import accuracies, disagreement, spread
from covey.federation.section import HIDDEN
from covey.federation.trained import Classifier
from covey.platform.runs.folder import RunFolder


def evaluate(run_dir: Path) -> Mapping[str, float]:
    """Mean, least and greatest accuracy of the newest checkpoint's peers on all test samples."""
    task, vectors = _load(run_dir)
    load(task.section.data.source)  # says it clearly when the data set is not there
    _, _, images, labels = tensors(task.section.data.source)
    found = accuracies(task, vectors, images, labels)
    return {**spread(found, "accuracy"), "disagreement": disagreement(vectors)}


def load_classifier(run_dir: Path) -> Classifier:
    """The model with the mean of the newest checkpoint's vectors, ready to use."""
    task, vectors = _load(run_dir)
    spec, section = spec_of(task.section.data.source), task.section
    mean = vectors.mean(0, keepdims=True, dtype=np.float64).astype(np.float32)
    model = make_model(section.app, spec.pixels, spec.classes, spec.image, section.hidden or HIDDEN)
    arrays = views(mean, {name: tuple(a.shape) for name, a in model.state_dict().items()})
    model.load_state_dict({name: torch.clone(array[0]) for name, array in arrays.items()})
    return Classifier(model, spec)


def _load(run_dir: Path) -> tuple[Task, Rows]:
    folder = RunFolder.open(run_dir)
    task = Task.of(folder.job())
    return task, vectors_of(folder.newest_checkpoint(), task)
