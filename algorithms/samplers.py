"""The samplers of a job and their streams: who stands in for whom is decided here."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from covey.algorithms.parts import make_environments_of, make_policy, number_of_samplers
from covey.algorithms.saved import SamplerState, StreamRows
from covey.algorithms.section import RLSection
from covey.platform.jobfile.model import JobFile
from covey.platform.runtime import segment
from covey.platform.runtime.actors import RELAY
from covey.platform.runtime.crew import Crew, InlineWorker, Pending, Worker, WorkerLost
from covey.platform.runtime.ends import Ends, Far
from covey.platform.runtime.ray_cluster import node_id
from covey.platform.runtime.ray_results import share
from covey.platform.runtime.relay import Relay
from covey.platform.runtime.sampler import Sampler
from covey.platform.runtime.spaces import Spaces
from covey.platform.runtime.stream import Stream
from covey.platform.runtime.weights_channel import SharedWeights
from covey.platform.seeds import derive

STARTS = 3
"""So many deaths of one worker in a row before it has done anything are put up with."""
START_S = 120.0
"""A new sampler is not thought to hang before so long: importing what it needs takes a while."""
LOOK_S = 0.25
"""So often the driver looks for workers that died or hang while it waits."""


@dataclass
class Member:
    """A sampler, its stream, and its endless call. `lives` counts those before it, `fruitless`
    those in a row that wrote nothing; `connected` is answered once it has begun; `state` is where
    it stands while it is halted.
    """

    stream: Stream
    worker: Worker
    lives: int
    running: Pending | None = None
    connected: Pending | None = None
    state: SamplerState | None = None
    fruitless: int = 0
    blocks: int = 0


class Samplers:
    """All samplers of one job. `note` hears why one is replaced."""

    def __init__(
        self, crew: Crew, job: JobFile, spaces: Spaces, note: Callable[[str], None], lives: int
    ) -> None:
        self._crew, self._job, self._spaces, self._note = crew, job, spaces, note
        section: RLSection = job.section
        self._section = section
        self._shared = number_of_samplers(section) > 0
        self._weights: SharedWeights | None = None
        self._far: Far | None = None
        count = max(1, number_of_samplers(section))
        spec = section.algorithm.stream_spec(self.columns, count, spaces)
        segment.check_fits("the rings of all samplers", count * spec.layout.size_bytes)
        self.members = [
            Member(Stream.create(spec, self._shared), self._spawn(index, lives), lives)
            for index in range(count)
        ]

    @property
    def columns(self) -> int:
        """Of each sampler's stream: agents of environments."""
        environments = self._section.sampling.envs_per_sampler
        assert isinstance(environments, int)
        return environments * self._spaces.agents

    @property
    def streams(self) -> list[Stream]:
        """One a sampler; they outlive it."""
        return [member.stream for member in self.members]

    @property
    def lives(self) -> int:
        """Of the sampler that was replaced most often."""
        return max(member.lives for member in self.members)

    @property
    def inline(self) -> list[Callable[[], bool]]:
        """For those in this process: writes a block."""
        workers = (member.worker for member in self.members)
        return [worker.target.sample for worker in workers if isinstance(worker, InlineWorker)]

    def _spawn(self, index: int, lives: int) -> Worker:
        """Sampler number `index`. After `lives` others it plays other episodes than they did."""
        environments = self._section.sampling.envs_per_sampler
        assert isinstance(environments, int)
        role = "environment" if lives == 0 else f"environment of life {lives}"
        return self._crew.spawn(
            f"sampler {index}",
            Sampler,
            make_environments_of(self._job, environments, index * environments, role),
            partial(make_policy, self._spaces, self._section),
            derive(self._job.seed, "sampler", index, *([lives] if lives else [])),
        )

    def wait_until_made(self) -> None:
        """Return when all have been made; who dies before is replaced."""
        for index, member in enumerate(self.members):
            for _ in range(STARTS):
                try:
                    self._crew.fetch([member.worker.submit("ready")])
                    break
                except WorkerLost as error:
                    self._note(str(error))
                    member.worker = self._spawn(index, member.lives)

    def restore(self, states: tuple[SamplerState, ...]) -> None:
        """Have them go on from where others stood."""
        parts = zip(self.members, states, strict=True)
        for pending in [m.worker.submit("restore", *state) for m, state in parts]:
            self._tolerate(pending)

    def connect(self, weights: SharedWeights) -> None:
        """Open their ends of the channels."""
        self._weights = weights
        for index in range(len(self.members)):
            self._connect(index)
        for member in self.members:
            self._tolerate(member.connected)

    def _tolerate(self, pending: Pending | None) -> None:
        """Wait for an answer; who dies over it is found to be lost when it is to run."""
        try:
            self._crew.fetch([] if pending is None else [pending])
        except WorkerLost:
            if self._job.deterministic:
                raise

    def _connect(self, index: int) -> None:
        member, weights = self.members[index], self._weights
        assert weights is not None
        if not self._shared:
            member.connected = member.worker.submit("connect", lambda: (member.stream, weights))
            return
        member.stream.term = member.lives
        handles = member.stream.handle, weights.handle
        ends = Ends(*handles, index, member.lives, self._way_from_elsewhere(weights))
        member.connected = member.worker.submit("connect", ends.open)

    def _way_from_elsewhere(self, weights: SharedWeights) -> Far | None:
        """For samplers on other nodes, once there are any."""
        if self._far is None and self._crew.spans_nodes():
            handles = [stream.handle for stream in self.streams]
            relay = self._crew.spawn(RELAY, Relay, handles, weights.handle, share)
            self._far = Far(node_id(), relay)
        return self._far

    def go_on(self) -> None:
        """Let them run (again)."""
        for member in self.members:
            member.stream.stop = False
            member.stream.heartbeat_s = time.monotonic()
            member.state = None
            if self._shared:
                member.running = member.worker.submit("run")

    def halt(self) -> None:
        """Return when all have stopped between two blocks."""
        for member in self.members:
            member.stream.stop = True
        while any(not self._crew.is_ready(one) for one in self.running()):
            self._crew.wait(self.running(), LOOK_S)
            self.heal()
        self.heal()

    def running(self) -> list[Pending]:
        """The endless calls; one is ready when its sampler has stopped, or died."""
        return [member.running for member in self.members if member.running is not None]

    def states(self) -> tuple[SamplerState, ...]:
        """Of all, once they are halted."""
        return tuple(map(self._state, range(len(self.members))))

    def _state(self, index: int) -> SamplerState:
        member = self.members[index]
        while member.state is None:  # `_replace` puts an end to it
            try:
                (member.state,) = self._crew.fetch([member.worker.submit("state")])
            except WorkerLost as error:
                self._replace(index, str(error))
        return member.state

    def rows(self) -> tuple[StreamRows, ...]:
        """Copies of what their streams hold, once they are halted."""
        return tuple(StreamRows.of(stream) for stream in self.streams)

    def heal(self) -> None:
        """Replace samplers that died, and end and replace those that hang."""
        for index, member in enumerate(self.members):
            if member.running is None:
                continue
            if self._crew.is_ready(member.running):
                try:
                    (member.state,) = self._crew.fetch([member.running])
                    member.running = None
                except WorkerLost as error:
                    self._replace(index, str(error))
                continue
            silent_s = time.monotonic() - member.stream.heartbeat_s
            if silent_s > self._patience_s(member):
                self._crew.end(member.worker)
                self._replace(index, f"sampler {index} gave no sign for {silent_s:.0f} s")

    def _patience_s(self, member: Member) -> float:
        limit_s: float = self._section.sampling.hang_s
        begun = member.connected is None or self._crew.is_ready(member.connected)
        return limit_s if begun else max(limit_s, START_S)

    def _replace(self, index: int, why: str) -> None:
        member = self.members[index]
        written = member.stream.blocks_written
        member.fruitless = member.fruitless + 1 if written == member.blocks else 0
        member.blocks = written
        if self._job.deterministic:
            raise WorkerLost(why)
        if member.fruitless >= STARTS:
            raise RuntimeError(f"{why}; {STARTS} in a row wrote nothing before")
        member.lives += 1
        self._note(why)
        member.stream.heartbeat_s = time.monotonic()
        member.worker = self._spawn(index, member.lives)
        self._connect(index)
        member.running = None if member.stream.stop else member.worker.submit("run")

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
