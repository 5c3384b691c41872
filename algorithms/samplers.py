"""The samplers of a job and their streams: who stands in for whom is decided here.

With `samplers: {min: 2, max: 16}` there are at least two, or none of the job's work is done; others
join while the cluster has room that nobody waits for, and are let go when somebody does.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from covey.algorithms.parts import (
    least_samplers,
)
from covey.algorithms.sampler_maker import SamplerMaker
from covey.algorithms.saved import SamplerState, StreamRows
from covey.algorithms.section import RLSection
from covey.algorithms.spare_samplers import STARTS, SpareSamplers
from covey.platform.jobfile.model import JobFile
from covey.platform.runtime.actors import share_of_sampler
from covey.platform.runtime.crew import Crew, InlineWorker, Pending, Worker, WorkerLost
from covey.platform.runtime.spaces import Spaces
from covey.platform.runtime.stream import Stream
from covey.platform.runtime.weights_channel import SharedWeights

START_S = 120.0
"""A new sampler is not thought to hang before so long: importing what it needs takes a while."""
GROW_S, GIVEN_S = 5.0, 60.0
"""So often a sampler may join where there is room; so long none does after others needed it."""
COMES_S = 10.0
"""So long a checkpoint waits for a sampler that has just taken another's place."""
LOOK_S = 0.25
"""So often the driver looks for workers that died or hang while it waits."""


@dataclass
class Member:
    """A sampler, its stream, and its endless call. `lives` counts those before it, `fruitless`
    those in a row that wrote nothing; `connected` is answered once it has begun; `state` is where
    it stands while it is halted. `worker` is None while there is none of this number.
    """

    stream: Stream
    worker: Worker | None
    lives: int
    running: Pending | None = None
    connected: Pending | None = None
    state: SamplerState | None = None
    fruitless: int = 0
    blocks: int = 0


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
        self.members = [Member(stream, None, lives) for stream in self._maker.streams]
        for index, member in enumerate(self.members):
            member.stream.absent = index >= self._least
            if not member.stream.absent:
                member.worker = self._maker.spawn(index, lives)

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
        for index, member in enumerate(self.members):
            for _ in range(STARTS):
                try:
                    if member.worker is not None:
                        self._crew.fetch([member.worker.submit("ready")])
                    break
                except WorkerLost as error:
                    self._note(str(error))
                    member.worker = self._maker.spawn(index, member.lives)

    def restore(self, states: tuple[SamplerState, ...]) -> None:
        """Have them go on from where others stood."""
        workers = [member.worker for member in self.members]
        parts = [(worker, s) for worker, s in zip(workers, states, strict=True) if worker]
        for pending in [worker.submit("restore", *state) for worker, state in parts]:
            self._tolerate(pending)

    def connect(self, weights: SharedWeights) -> None:
        """Open their ends of the channels."""
        self._weights = weights
        for index, member in enumerate(self.members):
            if member.worker is not None:
                self._connect(index)
        for member in self.members:
            self._tolerate(member.connected)

    def _connect(self, index: int) -> None:
        member = self.members[index]
        assert member.worker is not None and self._weights is not None
        connect = self._maker.connect
        member.connected = connect(member.worker, index, member.lives, self._weights)

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
            if self._maker.shared and member.worker is not None:
                member.running = member.worker.submit("run")

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
        return self._has_begun(member) or self._job.deterministic

    def states(self) -> tuple[SamplerState, ...]:
        """Of all that have begun, once they are halted."""
        states = map(self._state, range(len(self.members)))
        return tuple(state for state in states if state is not None)

    def _state(self, index: int) -> SamplerState | None:
        member = self.members[index]
        while member.state is None and member.worker is not None:
            if not self._counts(member) and not self._comes(member):
                return None
            try:
                (member.state,) = self._crew.fetch([member.worker.submit("state")])
            except WorkerLost as error:
                self._lose(index, str(error))
        return member.state

    def _comes(self, member: Member) -> bool:
        if member.connected is not None:
            self._crew.wait([member.connected], COMES_S)
        return self._has_begun(member)

    def _has_begun(self, member: Member) -> bool:
        return member.connected is None or self._crew.is_ready(member.connected)

    def rows(self) -> tuple[StreamRows, ...]:
        """Copies of what their streams hold, once they are halted."""
        return tuple(StreamRows.of(stream) for stream in self.streams)

    def heal(self) -> None:
        """Replace samplers that died, and end and replace those that hang; let others join or go
        where their number is not fixed.
        """
        for index, member in enumerate(self.members):
            if member.running is None:
                continue
            if member.stream.absent and self._has_begun(member):
                member.stream.absent = False
            if self._crew.is_ready(member.running):
                try:
                    (member.state,) = self._crew.fetch([member.running])
                    member.running = None
                except WorkerLost as error:
                    self._lose(index, str(error))
                continue
            silent_s = time.monotonic() - member.stream.heartbeat_s
            if silent_s > self._patience_s(member):
                assert member.worker is not None
                self._crew.end(member.worker)
                self._lose(index, f"sampler {index} gave no sign for {silent_s:.0f} s")
        if len(self.members) > self._least and time.monotonic() >= self._grow_at_s:
            self._grow_at_s = time.monotonic() + GROW_S
            self._grow_or_give_room()

    def _patience_s(self, member: Member) -> float:
        limit_s: float = self._section.sampling.hang_s
        return limit_s if self._has_begun(member) else max(limit_s, START_S)

    def _grow_or_give_room(self) -> None:
        """One sampler more if there is room for it; none but the least if others wait for room."""
        free = self._crew.free_cpus()
        extra = range(self._least, len(self.members))
        if free < 0:
            for index in extra:
                if (worker := self.members[index].worker) is not None:
                    self._crew.end(worker)
                    self._dismiss(index, f"sampler {index} gives room to others that wait")
            self._grow_at_s = time.monotonic() + GIVEN_S
            return
        absent = [index for index in extra if self.members[index].worker is None]
        if absent and free >= self._share and not self.members[absent[0]].stream.stop:
            self._begin_another(absent[0])
            self._told(f"sampler {absent[0]} joins")

    def _lose(self, index: int, why: str) -> None:
        """One is no more: another takes its place at once, or when there is room for one."""
        if index < self._least:
            self._replace(index, why)
        else:
            self._dismiss(index, why.splitlines()[0])

    def _dismiss(self, index: int, why: str) -> None:
        member = self.members[index]
        member.stream.absent = True
        member.worker = member.running = member.connected = member.state = None
        self._told(why)

    def _told(self, what: str) -> None:
        self._tell("samplers", f"{what}: {self.count} of {self._least} to {len(self.members)}")

    def _replace(self, index: int, why: str) -> None:
        member = self.members[index]
        written = member.stream.blocks_written
        member.fruitless = member.fruitless + 1 if written == member.blocks else 0
        member.blocks = written
        if self._job.deterministic:
            raise WorkerLost(why)
        if member.fruitless >= STARTS:
            raise RuntimeError(f"{why}; {STARTS} in a row wrote nothing before")
        self._note(why)
        self._begin_another(index)

    def _begin_another(self, index: int) -> None:
        member = self.members[index]
        member.lives += 1
        member.stream.heartbeat_s = time.monotonic()
        member.worker = self._maker.spawn(index, member.lives)
        self._connect(index)
        member.running = None if member.stream.stop else member.worker.submit("run")

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
        workers = {index: member.worker for index, member in enumerate(self.members)}
        self._maker.close()
        self._job, self._section = job, job.section
        self._maker = SamplerMaker(self._crew, job, self._spaces)
        for index in range(len(self.streams), len(workers)):
            self.spare.put(index, workers[index])
        self.members = [
            Member(stream, workers.get(index) or self.spare.take(index), lives)
            for index, stream in enumerate(self.streams)
        ]
        self._least = len(self.members)
        remade = [
            None if one.worker is None else self._maker.remake(one.worker, index, lives)
            for index, one in enumerate(self.members)
        ]
        for index, (member, pending) in enumerate(zip(self.members, remade, strict=True)):
            try:
                if pending is not None:
                    self._crew.fetch([pending])
                    continue
            except WorkerLost as error:
                self._note(str(error))
            member.worker = self._maker.spawn(index, lives)
        return before

    def close(self) -> None:
        """Let go of the streams."""
        for stream in self.streams:
            stream.close()


def opened(shared: bool, *channels: Any) -> list[Callable[[], Any]]:
    """How another process, or this one, opens its end of channels."""
    if shared:
        return [channel.handle.attach for channel in channels]
    return [partial(_same, channel) for channel in channels]


def _same(channel: Any) -> Any:
    return channel
