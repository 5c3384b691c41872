"""Collecting workers' results in a process that has no crew of its own."""

from collections.abc import Sequence
from typing import Any, Protocol

from covey.platform.runtime.crew import Pending


class Results(Protocol):
    """The part of a `crew.Crew` that whoever submits calls needs."""

    def fetch(self, pending: Sequence[Pending]) -> list[Any]:
        """The values, in order. A worker's UserError is raised as it is; a lost worker as
        WorkerLost.
        """

    def is_ready(self, pending: Pending) -> bool:
        """Whether `fetch` would return without waiting."""
