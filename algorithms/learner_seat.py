"""The learner's place in a team: who takes over from a lost one, and where that one goes on."""

import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

from covey.algorithms.learner import LearnerState
from covey.algorithms.loop import LearnerLoop
from covey.algorithms.orders import Orders, Report, Slice
from covey.algorithms.parts import least_samplers, number_of_samplers
from covey.algorithms.progress import Progress
from covey.algorithms.samplers import LOOK_S
from covey.algorithms.section import RLSection, number_of_learners
from covey.algorithms.spare_samplers import STARTS
from covey.platform.jobfile.model import JobFile
from covey.platform.runtime.crew import Crew, Pending, WorkerLost
from covey.platform.runtime.fragment import Weights
from covey.platform.runtime.interfaces import Record
from covey.platform.runtime.pulse import Pulse
from covey.platform.runtime.segment import SegmentGone
from covey.platform.runtime.spaces import Spaces

SNAPSHOT_S = 10.0
"""So often the learner's state is copied, for another one to go on from."""
POLL_S = 0.001
"""Between two looks for the end of a slice that is due."""

T = TypeVar("T")


class LearnerSeat:
    """See above. `note` hears why a learner is replaced; in lock-step none is."""

    def __init__(
        self,
        crew: Crew,
        job: JobFile,
        spaces: Spaces,
        note: Callable[[str], None],
        lock_step: bool,
    ) -> None:
        self._crew, self._job, self._spaces, self._note = crew, job, spaces, note
        self._lock_step = lock_step
        self._shared = number_of_samplers(job.section) > 0
        self.snapshot: LearnerState | None = None
        """The last copy of a learner's state; None before the first."""
        self.progress: Record = Progress().to_record()
        """The counters of the last report."""
        self._snapshot_s = time.monotonic()
        self._orders: Orders | None = None
        self._running: Pending | None = None
        self._ends: tuple[Any, ...] = ()

    def spawn(self) -> None:
        """Start a process for one."""
        self._running = None
        section: RLSection = self._job.section
        self._pulse = Pulse("learner")
        self._worker = self._pulse.spawn(
            self._crew,
            LearnerLoop,
            section,
            self._spaces,
            self._job.seed,
            threads_of(self._job),
            self._crew.helpers(),
        )

    def first_weights(self) -> Weights:
        """Those of a learner that goes on from the snapshot, or begins; who dies over it is
        replaced.
        """
        for left in reversed(range(STARTS)):
            try:
                restored = self._worker.submit("restore", self.snapshot, self.progress)
                _, weights = self._crew.fetch([restored, self._worker.submit("weights")])
                assert isinstance(weights, Weights)
                return weights
            except WorkerLost as error:
                if not left:
                    raise
                self._note(str(error))
                self.spawn()
        raise AssertionError("there is a last try")

    def connect(self, *ends: Any) -> None:
        """Open this learner's ends of the channels, and later those of its successors; as
        `LearnerLoop.connect` takes them, without orders.
        """
        self._ends = ends
        self._connect()

    def reconnect(self, *ends: Any) -> None:
        """The same between two slices, when channels are others; a learner that dies over it is
        replaced.
        """
        self._ends = ends
        try:
            self._connect()
        except WorkerLost as error:
            self._replace(error)

    def remake(self, job: JobFile) -> None:
        """Have the learner, and later its successors, go on with a job's other settings, between
        two slices.
        """
        self._job = job
        try:
            self.close()
            self._crew.fetch([self._worker.submit("remake", job.section)])
            self._connect()
        except WorkerLost as error:
            self._replace(error)

    def learn(self, part: Slice, meanwhile: Callable[[], None]) -> Report | None:
        """One slice of training; None if the learner was lost over it and replaced. `meanwhile` is
        called now and then.
        """
        try:
            report = self._ordered(part, meanwhile) if self._shared else self._called(part)
        except WorkerLost as error:
            self._replace(error)
            return None
        self.progress = report.progress
        old = time.monotonic() - self._snapshot_s > SNAPSHOT_S
        if old and not self._lock_step and not report.waiting:  # which asking would put an end to
            self.state()
        return report

    def state(self) -> tuple[LearnerState, Record]:
        """Where the learner stands, between two slices; `snapshot` is the same."""
        for left in reversed(range(STARTS)):
            try:
                state = self._told_state()
                self.snapshot, self._snapshot_s = state[0], time.monotonic()
                return state
            except WorkerLost as error:
                if not left:
                    raise
                self._replace(error)
        raise AssertionError("there is a last try")

    def _told_state(self) -> tuple[LearnerState, Record]:
        if self._running is None:  # it is not following orders
            (found,) = self._crew.fetch([self._worker.submit("state")])
            state: tuple[LearnerState, Record] = found
            return state
        assert self._orders is not None
        self._orders.ask_state()
        return self._answer(self._orders.state, lambda: None)

    def close(self) -> None:
        """Let go of the orders: the learner follows none after that."""
        if self._orders is not None:
            self._orders.close()
        self._orders = self._running = None

    def _connect(self) -> None:
        ends = self._ends
        if self._shared:
            self.close()
            self._orders = Orders()  # what was ordered from a lost one is not done twice
            ends = (*ends, self._orders.other_end)
        self._crew.fetch([self._worker.submit("connect", *ends)])

    def _called(self, part: Slice) -> Report:
        (report,) = self._crew.fetch([self._worker.submit("learn", part)])
        assert isinstance(report, Report)
        return report

    def _ordered(self, part: Slice, meanwhile: Callable[[], None]) -> Report:
        assert self._orders is not None
        if self._running is None:
            self._running = self._worker.submit("run")
        self._orders.give(part)
        if part.seconds < LOOK_S:
            time.sleep(0.9 * part.seconds)
        return self._answer(self._orders.report, meanwhile)

    def _answer(self, look: Callable[[], T | None], meanwhile: Callable[[], None]) -> T:
        """What the learner answers. WorkerLost if it has died or hangs; what it raised, if it
        did.
        """
        assert self._running is not None
        looked_s = -math.inf
        while (answer := unless_gone(look)) is None:
            if self._crew.is_ready(self._running):
                self._crew.fetch([self._running])
                raise AssertionError("the learner ended unasked")
            if time.monotonic() - looked_s > LOOK_S:
                looked_s = time.monotonic()
                self._pulse.check()
                meanwhile()
            time.sleep(POLL_S)
        return answer

    def _replace(self, error: WorkerLost) -> None:
        """A new learner goes on from the last snapshot, with the counters of the last report."""
        if self._lock_step:
            raise error
        for left in reversed(range(STARTS)):
            self._note(str(error))
            self._crew.end(self._worker)  # it may only have lost another one of its group
            self.spawn()
            try:
                self.first_weights()
                self._connect()
                return
            except WorkerLost as again:
                if not left:
                    raise
                error = again


def unless_gone(look: Callable[[], T | None]) -> T | None:
    """What `look` finds; None where it lay in the memory of a process that has died."""
    try:
        return look()
    except SegmentGone:
        return None


def threads_of(job: JobFile) -> int:
    """A learner's: together they have one a CPU that no sampler keeps busy while they work."""
    section: RLSection = job.section
    busy = 0 if section.algorithm.takes_turns else least_samplers(section)
    return max(1, (int(job.resources.cpus) - busy) // number_of_learners(section))
