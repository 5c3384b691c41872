"""The models that a peer-to-peer run has trained: measure them, use their mean."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from covey.federation.apps.models import make_model
from covey.federation.apps.task import tensors
from covey.federation.data import load, spec_of
from covey.federation.p2p.learners import MODEL, vectors_of
from covey.federation.p2p.links import Rows
from covey.federation.p2p.measuring import accuracies, disagreement, spread
from covey.federation.p2p.task import Task, views
from covey.federation.section import BUILT_IN_APPS, HIDDEN
from covey.federation.trained import Classifier
from covey.platform.errors import UserError
from covey.platform.runs.folder import RunFolder


def evaluate(run_dir: Path) -> Mapping[str, float]:
    """Mean, least and greatest accuracy of the newest checkpoint's peers on all test samples."""
    task, vectors = _load(run_dir)
    load(task.settings.data)  # says it clearly when the data set is not there
    _, _, images, labels = tensors(task.settings.data)
    found = accuracies(task, vectors, images, labels)
    return {**spread(found, "accuracy"), "disagreement": disagreement(vectors)}


def load_classifier(run_dir: Path) -> Classifier:
    """The model with the mean of the newest checkpoint's vectors, ready to use."""
    task, vectors = _load(run_dir)
    spec, section = spec_of(task.settings.data), task.section
    mean = vectors.mean(0, keepdims=True, dtype=np.float64).astype(np.float32)
    model = make_model(section.app, spec.pixels, spec.classes, spec.image, section.hidden or HIDDEN)
    arrays = views(mean, {name: tuple(a.shape) for name, a in model.state_dict().items()})
    model.load_state_dict({name: torch.clone(array[0]) for name, array in arrays.items()})
    return Classifier(model, spec)


def _load(run_dir: Path) -> tuple[Task, Rows]:
    folder = RunFolder.open(run_dir)
    job = folder.job()
    if job.section.app not in BUILT_IN_APPS:
        raise UserError(
            f"{run_dir} trained the app in {job.section.app}: only that app can read its arrays "
            "(checkpoints/latest/model.safetensors, a row for each peer)"
        )
    task = Task.of(job)
    return task, vectors_of(folder.newest_checkpoint().arrays(MODEL), task.shapes)
