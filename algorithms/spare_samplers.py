"""Processes of samplers beyond those at work, for a job that tries how many it is to have: to start
one takes seconds, in which the others go on.
"""

from collections.abc import Callable, Iterable

from covey.platform.runtime.crew import Crew, Pending, Worker, WorkerLost

STARTS = 3
"""So many deaths of one worker in a row before it has done anything are put up with."""


class SpareSamplers:
    """See above; by the samplers' numbers."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._spare: dict[int, tuple[Worker, Pending]] = {}
        """Each with the answer to whether it is there."""
        self._deaths = 0

    def prepare(self, numbers: Iterable[int], spawn: Callable[[int], Worker]) -> bool:
        """Whether all these are there; those that are missing are started, and not waited for.
        WorkerLost when they die again and again.
        """
        for number in numbers:
            if number not in self._spare:
                self.put(number, spawn(number))
        return all([self._is_there(number) for number in numbers])

    def _is_there(self, number: int) -> bool:
        _, ready = self._spare[number]
        if not self._crew.is_ready(ready):
            return False
        try:
            self._crew.fetch([ready])
        except WorkerLost:
            del self._spare[number]
            self._deaths += 1
            if self._deaths < STARTS:
                return False
            self._deaths = 0
            raise
        return True

    def put(self, number: int, worker: Worker | None) -> None:
        """One that is not at work any more."""
        if worker is not None:
            self._spare[number] = worker, worker.submit("ready")

    def take(self, number: int) -> Worker | None:
        """One that is to be at work; None if there is none of that number."""
        worker, _ = self._spare.pop(number, (None, None))
        return worker

    def dismiss(self) -> None:
        """End them."""
        for worker, _ in self._spare.values():
            self._crew.end(worker)
        self._spare = {}
