"""The newest weights between two machines: the twin of `SharedWeights`, over a `Mailbox` worker."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from covey.platform.runtime.crew import Worker
from covey.platform.runtime.fragment import Weights
from covey.platform.runtime.layout import Layout
from covey.platform.runtime.results import Results
from covey.platform.runtime.weights_channel import check_alike

POLL_S = 0.01


@dataclass(frozen=True)
class ObjectWeightsHandle:
    """Opens a channel anywhere. Picklable if worker and results are."""

    layout: Layout
    mailbox: Worker
    results: Results

    def attach(self) -> "ObjectWeights":
        """One more end of the channel."""
        return ObjectWeights(self)


class ObjectWeights:
    """Both sides of a channel.

    `publish` and `read` wait for the mailbox's answer, so weights published before a permission
    are those that are read after it.
    """

    def __init__(self, handle: ObjectWeightsHandle) -> None:
        self.handle = handle
        self._newest = -1
        self._ask_at = 0.0

    @classmethod
    def create(
        cls, template: Mapping[str, NDArray[Any]], mailbox: Worker, results: Results
    ) -> "ObjectWeights":
        """A channel for arrays like these; a mailbox has one."""
        return cls(ObjectWeightsHandle(Layout.of(template), mailbox, results))

    def publish(self, arrays: Mapping[str, NDArray[Any]]) -> int:
        check_alike(self.handle.layout, arrays)
        copies = {name: array.copy() for name, array in arrays.items()}
        self._newest = self._call("publish", copies)
        return self._newest

    @property
    def newest(self) -> int:
        """As of `POLL_S` ago at most."""
        if time.monotonic() >= self._ask_at:
            self._newest = self._call("newest")
            self._ask_at = time.monotonic() + POLL_S
        return self._newest

    def read(self, newer_than: int = -1) -> Weights | None:
        weights: Weights | None = self._call("weights", newer_than)
        if weights is None:
            return None
        return Weights(weights.version, {n: a.copy() for n, a in weights.arrays.items()})

    def _call(self, method: str, *arguments: Any) -> Any:
        return self.handle.results.fetch([self.handle.mailbox.submit(method, *arguments)])[0]

    def close(self) -> None:
        """Nothing to do: the mailbox belongs to its crew."""
