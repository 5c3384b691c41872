"""The peers of a built-in app, all side by side."""

from collections.abc import Sequence

import numpy as np

from covey.federation.p2p.learners import Floats
from covey.federation.p2p.links import Rows
from covey.federation.p2p.measuring import accuracies
from covey.federation.p2p.task import Task
from covey.federation.p2p.training import Trainer


class BuiltInPeers(Trainer):
    """See `Learners`."""

    def __init__(self, task: Task, peers: Sequence[int]) -> None:
        super().__init__(task, peers)
        self.shapes = task.shapes
        self.sizes = [task.sizes[peer] for peer in peers]
        self._tests = task.test_data()

    def first(self) -> Rows:
        """What each peer draws."""
        return np.stack([self._task.first(peer) for peer in self._peers])

    def accuracies(self, params: Rows, round_: int) -> Floats | None:
        """On the test samples that all are measured on."""
        return accuracies(self._task, params, *self._tests)
