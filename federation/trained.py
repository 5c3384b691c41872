"""The model that a federated run of a built-in app has trained: measure it, use it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from covey.federation.apps.models import make_model
from covey.federation.apps.task import evaluate as evaluate_model
from covey.federation.data import load, spec_of
from covey.federation.sample_spec import SampleSpec
from covey.federation.section import BUILT_IN_APPS, HIDDEN, FederatedSection
from covey.platform.errors import UserError
from covey.platform.runs.folder import RunFolder


class Classifier:
    """Names the class of raw samples of the data set that it was trained on."""

    def __init__(self, model: nn.Module, spec: SampleSpec) -> None:
        self._model = model
        self._spec = spec

    def act(self, observations: NDArray[np.generic]) -> NDArray[np.generic]:
        """The most likely class of each sample, [B] (a number for a single one).

        Images are as published, [B, height, width] with pixels of 0 to 255 (digits: to 16), or flat
        like that, [B, pixels]; samples of a folder are as in its files. ValueError for other
        shapes.
        """
        images = self._spec.standardised(np.asarray(observations))
        with torch.no_grad():
            logits = self._model(torch.from_numpy(images))
        classes: NDArray[np.generic] = logits.argmax(-1).numpy()
        return classes


def evaluate(run_dir: Path) -> Mapping[str, float]:
    """Accuracy and loss of the newest checkpoint on the test set; UserError for an app folder."""
    model, data, _ = _load(run_dir)
    load(data)  # says it clearly when the data set is not there
    accuracy, loss = evaluate_model(model, data)
    return {"accuracy": accuracy, "loss": loss}


def load_classifier(run_dir: Path) -> Classifier:
    """The newest checkpoint's model, ready to use; UserError for an app folder."""
    model, _, spec = _load(run_dir)
    return Classifier(model, spec)


def _load(run_dir: Path) -> tuple[nn.Module, str, SampleSpec]:
    """The model, the data set that it was trained on, and how that one's samples look."""
    folder = RunFolder.open(run_dir)
    section: FederatedSection = folder.job().section
    if section.app not in BUILT_IN_APPS or section.data is None:
        raise UserError(
            f"{run_dir} trained the app in {section.app}: only that app can read its arrays "
            "(checkpoints/latest/model.safetensors)"
        )
    arrays = folder.newest_checkpoint().arrays("model.safetensors")
    spec = spec_of(section.data.source)
    model = make_model(section.app, spec.pixels, spec.classes, spec.image, section.hidden or HIDDEN)
    model.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    return model, section.data.source, spec
