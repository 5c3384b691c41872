"""The learners of a group beside the first one: each in a process of its own, started by it."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from covey.algorithms.learner_group import GroupBroken, SharingLearner
from covey.algorithms.section import RLSection, number_of_learners
from covey.platform.runtime.crew import Crew, Pending, WorkerLost
from covey.platform.runtime.memory import keep_freed_memory
from covey.platform.runtime.spaces import Spaces
from covey.platform.runtime.threads import one_blas_thread

LOST_S = 10.0
"""Until it is known who broke a group."""


class OtherLearner:
    """One of them, in its process."""

    def __init__(self, section: RLSection, spaces: Spaces, seed: int, threads: int) -> None:
        one_blas_thread()
        keep_freed_memory()
        learner: Any = section.algorithm.make_learner(spaces, seed, threads)
        self._learner: SharingLearner = learner  # of a kind that can share

    def is_there(self) -> bool:
        """Whether it has been made."""
        return True

    def run(self, folder: Path, rank: int, count: int) -> None:
        """Take part in the first one's updates until the group breaks."""
        from covey.algorithms.joined_group import JoinedGroup  # torch is heavy: it waits until here

        with suppress(GroupBroken):
            self._learner.join(JoinedGroup(folder, rank, count))
            while True:
                self._learner.take_part()


class OtherLearners:
    """All of them, as the first one sees them. With `threads` each, like the first one."""

    def __init__(
        self, crew: Crew, section: RLSection, spaces: Spaces, seed: int, threads: int
    ) -> None:
        self._crew, self._count = crew, number_of_learners(section)
        self._workers = [
            crew.spawn(f"learner {rank}", OtherLearner, section, spaces, seed, threads)
            for rank in range(1, self._count)
        ]
        self._running: list[Pending] = []

    def join(self, first: SharingLearner) -> None:
        """Make a group of them and the first one, once all are there. WorkerLost if one dies."""
        from covey.algorithms.joined_group import JoinedGroup

        self._crew.fetch([worker.submit("is_there") for worker in self._workers])
        folder = Path(tempfile.mkdtemp(prefix="covey-learners-"))
        try:
            self._running = [
                worker.submit("run", folder, rank, self._count)
                for rank, worker in enumerate(self._workers, 1)
            ]
            with self.watched():
                first.join(JoinedGroup(folder, 0, self._count))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Where the group breaks inside this, raise why: WorkerLost, or what a learner raised."""
        try:
            yield
        except GroupBroken as broken:
            raise self._lost(broken) from broken

    def _lost(self, broken: GroupBroken) -> Exception:
        deadline_s = time.monotonic() + LOST_S
        while time.monotonic() < deadline_s:
            for pending in self._running:
                if self._crew.is_ready(pending):
                    try:
                        self._crew.fetch([pending])  # who has only noticed it raises nothing
                    except Exception as error:
                        return error
            time.sleep(0.05)
        return WorkerLost(f"a learner of the group gives no sign any more: {broken}")
