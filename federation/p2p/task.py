"""A built-in app for peers: its model as one vector, first weights, and who has which samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from covey.federation.apps.models import make_model, spare_model
from covey.federation.apps.settings import ENDLESS, Settings
from covey.federation.apps.task import partition, tensors
from covey.federation.data import load
from covey.federation.p2p.links import Rows
from covey.federation.p2p.section import PeerSection
from covey.federation.section import HIDDEN
from covey.platform.jobfile.model import JobFile
from covey.platform.seeds import derive, derive_int


@dataclass(frozen=True)
class Task:
    """What every peer of a resolved job knows."""

    section: PeerSection
    seed: int

    @classmethod
    def of(cls, job: JobFile) -> "Task":
        """Reads no data yet."""
        return cls(job.section, job.seed)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all that is trained and sent."""
        return np.dtype(self.section.precision)

    @cached_property
    def settings(self) -> Settings:
        """The job as the built-in apps' federated clients would have it."""
        section = self.section
        assert section.data is not None and section.local is not None  # it is resolved
        partition = section.data.partition
        return Settings(
            model=section.app,
            hidden=section.hidden or HIDDEN,
            data=section.data.source,
            partition=partition.kind,
            alpha=partition.alpha or 0.0,
            classes_per_client=partition.classes_per_client or 0,
            min_size=partition.min_size,
            partition_seed=self.seed,
            held_out=0.0,
            public=0.0,
            evaluated=0,
            epochs=section.local.epochs or 0,
            steps=section.local.steps or 0,
            batch_size=section.local.batch_size,
            learning_rate=section.local.learning_rate,
            order="shuffled",
            strategy="null",
            differential_privacy="null",
            compression="null",
            cohort=section.peers,
            rounds=ENDLESS,
            deterministic=True,
        )

    @cached_property
    def parts(self) -> tuple[Tensor, ...]:
        """The training samples of each peer, as indices."""
        return partition(self.settings, self.section.peers)

    @property
    def sizes(self) -> list[int]:
        """How many samples each peer has."""
        return list(map(len, self.parts))

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the model's arrays, in the order that they have in a vector."""
        model = spare_model(*self._architecture)
        return {name: tuple(array.shape) for name, array in model.state_dict().items()}

    @property
    def vector_size(self) -> int:
        """D."""
        return sum(map(_count, self.shapes.values()))

    def training_data(self) -> tuple[Tensor, Tensor]:
        """Images [N, pixels] and labels [N] of all peers."""
        images, labels, _, _ = tensors(self.settings.data)
        return images.to(torch.from_numpy(np.empty(0, self.dtype)).dtype), labels

    def test_data(self) -> tuple[Tensor, Tensor]:
        """The test samples that peers are measured on."""
        _, _, images, labels = tensors(self.settings.data)
        count = self.section.evaluate_samples
        if count < len(labels):
            draw = np.random.default_rng(derive(self.seed, "peers' test samples"))
            chosen = torch.from_numpy(np.sort(draw.choice(len(labels), count, replace=False)))
            images, labels = images[chosen], labels[chosen]
        return images, labels

    def first(self, peer: int) -> NDArray[Any]:
        """The weights that a peer draws, as a vector [D]: of its own, or the same as all."""
        own = () if self.section.start == "common" else (peer,)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_int(self.seed, "peer's first weights", *own))
            state = make_model(*self._architecture).state_dict()
        return torch.cat([array.flatten() for array in state.values()]).numpy().astype(self.dtype)

    @property
    def _architecture(self) -> tuple[Any, ...]:
        data = load(self.settings.data)
        settings = self.settings
        return settings.model, data.pixels, data.classes, data.spec.image, settings.hidden


def views(vectors: Rows, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The arrays of models whose vectors are rows [n, D], [n, ...] each, in the same memory."""
    rows, found, first = torch.from_numpy(vectors), {}, 0
    for name, shape in shapes.items():
        last = first + _count(shape)
        found[name] = rows[:, first:last].view(len(rows), *shape)
        first = last
    return found


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))
