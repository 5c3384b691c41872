"""The samplers of a job and their streams: who stands in for whom is decided here.

With `samplers: {min: 2, max: 16}` there are at least two, or none of the job's work is done; others
join while the cluster has room that nobody waits for, and are let go when somebody does.
"""

import time
from collections.abc import Callable

from covey.algorithms.parts import least_samplers
from covey.algorithms.sampler_maker import SamplerMaker
from covey.algorithms.sampler_member import Member
from covey.algorithms.saved import SamplerState, StreamRows
from covey.algorithms.section import RLSection
from covey.algorithms.spare_samplers import STARTS, SpareSamplers
from covey.platform.jobfile.model import JobFile
from covey.platform.runtime.actors import share_of_sampler
from covey.platform.runtime.crew import Crew, InlineWorker, Pending, WorkerLost
from covey.platform.runtime.spaces import Spaces
from covey.platform.runtime.stream import Stream
from covey.platform.runtime.weights_channel import SharedWeights

GROW_S, GIVEN_S = 5.0, 60.0
"""So often a sampler may join where there is room; so long none does after others needed it."""
LOOK_S = 0.25
"""So often the driver looks for workers that died or hang while it waits."""


class Samplers:
    """All samplers of one job. `note` hears why one is replaced, `tell` of those that come and
    go.
    """

    def __init__(
        self,
        crew: Crew,
        job: JobFile,
        spaces: Spaces,
        note: Callable[[str], None],
        tell: Callable[[str, str], None],
        lives: int,
    ) -> None:
        self._crew, self._job = crew, job
        self._note, self._tell = note, tell
        section: RLSection = job.section
        self._section = section
        self._weights: SharedWeights | None = None
        self._least = max(1, least_samplers(section))
        self._share = share_of_sampler(job.resources, self._least)
        self._grow_at_s = 0.0
        self._maker = SamplerMaker(crew, job, spaces)
        self._spaces = spaces
        self.spare = SpareSamplers(crew)
        self.members = [
            Member(index, stream, None, lives) for index, stream in enumerate(self.streams)
        ]
        for member in self.members:
            member.stream.absent = member.index >= self._least
            if not member.stream.absent:
                member.worker = self._maker.spawn(member.index, lives)

    @property
    def columns(self) -> int:
        """Of each sampler's stream: agents of environments."""
        return self._maker.columns

    @property
    def streams(self) -> list[Stream]:
        """One a sampler; they outlive it."""
        return self._maker.streams

    @property
    def count(self) -> int:
        """Of those that are at work, or are just beginning."""
        return sum(member.worker is not None for member in self.members)

    @property
    def lives(self) -> int:
        """Of the sampler that was replaced most often."""
        return max(member.lives for member in self.members)

    @property
    def inline(self) -> list[Callable[[], bool]]:
        """For those in this process: writes a block."""
        workers = (member.worker for member in self.members)
        return [worker.target.sample for worker in workers if isinstance(worker, InlineWorker)]

    def wait_until_made(self) -> None:
        """Return when all have been made; who dies before is replaced."""
        for member in self.members:
            for _ in range(STARTS):
                try:
                    if member.worker is not None:
                        self._crew.fetch([member.worker.submit("ready")])
                    break
                except WorkerLost as error:
                    self._note(str(error))
                    member.worker = self._maker.spawn(member.index, member.lives)

    def restore(self, states: tuple[SamplerState, ...]) -> None:
        """Have them go on from where others stood."""
        workers = [member.worker for member in self.members]
        parts = [(worker, s) for worker, s in zip(workers, states, strict=True) if worker]
        for pending in [worker.submit("restore", *state) for worker, state in parts]:
            self._tolerate(pending)

    def connect(self, weights: SharedWeights) -> None:
        """Open their ends of the channels."""
        self._weights = weights
        for member in self.members:
            if member.worker is not None:
                member.connect(self._maker, weights)
        for member in self.members:
            self._tolerate(member.connected)

    def _tolerate(self, pending: Pending | None) -> None:
        """Wait for an answer; who dies over it is found to be lost when it is to run."""
        try:
            self._crew.fetch([] if pending is None else [pending])
        except WorkerLost:
            if self._job.deterministic:
                raise

    def go_on(self) -> None:
        """Let them run (again)."""
        for member in self.members:
            member.stream.stop = False
            member.stream.heartbeat_s = time.monotonic()
            member.state = None
            if self._maker.shared:
                member.run()

    def halt(self) -> None:
        """Return when all that have begun have stopped between two blocks."""
        for member in self.members:
            member.stream.stop = True
        while any(not self._crew.is_ready(one) for one in self._running()):
            self._crew.wait(self._running(), LOOK_S)
            self.heal()
        self.heal()

    def _running(self) -> list[Pending]:
        """The endless calls; one is ready when its sampler has stopped, or died."""
        return [m.running for m in self.members if m.running is not None and self._counts(m)]

    def _counts(self, member: Member) -> bool:
        """Whether it is waited for: one that is to replace another may itself wait for a node."""
        return member.has_begun(self._crew) or self._job.deterministic

    def states(self) -> tuple[SamplerState, ...]:
        """Of all that have begun, once they are halted."""
        states = map(self._state, self.members)
        return tuple(state for state in states if state is not None)

    def _state(self, member: Member) -> SamplerState | None:
        while member.state is None and member.worker is not None:
            if not self._counts(member) and not member.comes(self._crew):
                return None
            try:
                (member.state,) = self._crew.fetch([member.worker.submit("state")])
            except WorkerLost as error:
                self._lose(member, str(error))
        return member.state

    def rows(self) -> tuple[StreamRows, ...]:
        """Copies of what their streams hold, once they are halted."""
        return tuple(StreamRows.of(stream) for stream in self.streams)

    def heal(self) -> None:
        """Replace samplers that died, and end and replace those that hang; let others join or go
        where their number is not fixed.
        """
        for member in self.members:
            if member.running is None:
                continue
            if member.stream.absent and member.has_begun(self._crew):
                member.stream.absent = False
            if self._crew.is_ready(member.running):
                try:
                    (member.state,) = self._crew.fetch([member.running])
                    member.running = None
                except WorkerLost as error:
                    self._lose(member, str(error))
            elif silent_s := member.hangs(self._crew, self._section.sampling.hang_s):
                assert member.worker is not None
                self._crew.end(member.worker)
                self._lose(member, f"sampler {member.index} gave no sign for {silent_s:.0f} s")
        if len(self.members) > self._least and time.monotonic() >= self._grow_at_s:
            self._grow_at_s = time.monotonic() + GROW_S
            self._grow_or_give_room()

    def _grow_or_give_room(self) -> None:
        """One sampler more if there is room for it; none but the least if others wait for room."""
        free = self._crew.free_cpus()
        extra = self.members[self._least :]
        if free < 0:
            for member in extra:
                if member.worker is not None:
                    self._crew.end(member.worker)
                    self._dismiss(member, f"sampler {member.index} gives room to others that wait")
            self._grow_at_s = time.monotonic() + GIVEN_S
            return
        absent = [member for member in extra if member.worker is None]
        if absent and free >= self._share and not absent[0].stream.stop:
            self._begin_another(absent[0])
            self._told(f"sampler {absent[0].index} joins")

    def _lose(self, member: Member, why: str) -> None:
        """One is no more: another takes its place at once, or when there is room for one."""
        if member.index < self._least:
            self._replace(member, why)
        else:
            self._dismiss(member, why.splitlines()[0])

    def _dismiss(self, member: Member, why: str) -> None:
        member.leave()
        self._told(why)

    def _told(self, what: str) -> None:
        self._tell("samplers", f"{what}: {self.count} of {self._least} to {len(self.members)}")

    def _replace(self, member: Member, why: str) -> None:
        member.count_fruitless()
        if self._job.deterministic:
            raise WorkerLost(why)
        if member.fruitless >= STARTS:
            raise RuntimeError(f"{why}; {STARTS} in a row wrote nothing before")
        self._note(why)
        self._begin_another(member)

    def _begin_another(self, member: Member) -> None:
        assert self._weights is not None
        member.begin_another(self._maker, self._weights)

    def prepare(self, count: int) -> bool:
        """Whether there are processes for so many; those that are missing are started, and not
        waited for. WorkerLost when they die again and again.
        """
        return self.spare.prepare(
            range(len(self.members), count), lambda index: self._maker.spawn(index, self.lives)
        )

    def reform(self, job: JobFile) -> list[Stream]:
        """While all are halted, be the samplers of another number or other environments: the same
        processes, as far as there are, and new streams; `connect` and `go_on` come next. Returns
        the streams of before.
        """
        before, lives = self.streams, self.lives + 1
        workers = {member.index: member.worker for member in self.members}
        self._maker.close()
        self._job, self._section = job, job.section
        self._maker = SamplerMaker(self._crew, job, self._spaces)
        for index in range(len(self.streams), len(workers)):
            self.spare.put(index, workers[index])
        self.members = [
            Member(index, stream, workers.get(index) or self.spare.take(index), lives)
            for index, stream in enumerate(self.streams)
        ]
        self._least = len(self.members)
        remade = [
            None if one.worker is None else self._maker.remake(one.worker, one.index, lives)
            for one in self.members
        ]
        for member, pending in zip(self.members, remade, strict=True):
            try:
                if pending is not None:
                    self._crew.fetch([pending])
                    continue
            except WorkerLost as error:
                self._note(str(error))
            member.worker = self._maker.spawn(member.index, lives)
        return before

    def close(self) -> None:
        """Let go of the streams."""
        for stream in self.streams:
            stream.close()
