"""Who works on a reinforcement-learning job, the channels between them, and who steps in for whom.

The driver holds every channel, so that nothing is lost with a worker. Samplers run on their own;
the learner is asked for one slice after another.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from covey.algorithms.learner import LearnerState
from covey.algorithms.loop import Report, Slice
from covey.algorithms.parts import number_of_samplers
from covey.algorithms.progress import Progress
from covey.algorithms.saved import SamplerState, StreamRows, TrainingState
from covey.algorithms.section import RLSection
from covey.algorithms.workers import SamplerMember, spawn_learner, spawn_sampler
from covey.platform.jobfile.model import JobFile
from covey.platform.runtime.crew import Crew, InlineWorker, Pending, Worker, WorkerLost
from covey.platform.runtime.fragment import Weights
from covey.platform.runtime.spaces import Spaces
from covey.platform.runtime.stream import Stream
from covey.platform.runtime.weights_channel import SharedWeights

SNAPSHOT_S = 10.0
"""So often the learner's state is copied, for another one to go on from."""
STARTS = 3
"""So many deaths of one worker before it has been made are put up with."""
LOOK_S = 0.25
"""So often the driver looks for workers that died or hang while it waits for the learner."""


@dataclass
class Team:
    """The samplers and the learner of one job. `note` hears of every replacement.

    `lives` are those that every sampler had before: each plays episodes of its own.
    """

    crew: Crew
    job: JobFile
    spaces: Spaces
    note: Callable[[str, str], None]
    lives: int = 0
    samplers: list[SamplerMember] = field(default_factory=list)
    archives: list[Stream] = field(default_factory=list)
    replaced: int = 0

    def __post_init__(self) -> None:
        self._section: RLSection = self.job.section
        self._channel: SharedWeights | None = None
        self._inline = number_of_samplers(self._section) == 0
        self._lock_step = self._inline or self.job.deterministic
        self._snapshot: LearnerState | None = None
        self._snapshot_s = time.monotonic()
        self._progress = Progress().to_record()

    def start(self, state: TrainingState | None) -> None:
        """Start everybody, from `state` if there is one. Returns when the learner is ready."""
        self.spawn()
        self.begin(state)

    def spawn(self) -> None:
        """Start everybody's process. Returns when all have been made."""
        self._learner = self._spawn_learner()
        count = max(1, number_of_samplers(self._section))
        self.samplers = [
            SamplerMember(
                self._new_stream(count), self._spawn_sampler(index, self.lives), lives=self.lives
            )
            for index in range(count)
        ]
        self._learner = self._made(self._learner, "weights", self._spawn_learner)
        for index, member in enumerate(self.samplers):
            again = partial(self._spawn_sampler, index, self.lives)
            member.worker = self._made(member.worker, "ready", again)

    def _made(self, worker: Worker, method: str, spawn: Callable[[], Worker]) -> Worker:
        """The worker once it has answered; who dies before is replaced."""
        for _ in range(STARTS):
            try:
                self.crew.fetch([worker.submit(method)])
                break
            except WorkerLost as error:
                self._count_lost(error)
                worker = spawn()
        return worker

    def _count_lost(self, error: WorkerLost | str) -> None:
        """Note that somebody is replaced."""
        self.replaced += 1
        self.note("replaced", f"{str(error).splitlines()[0]}; another one goes on in its place")

    def begin(self, state: TrainingState | None) -> None:
        """Have everybody begin at the beginning, or go on from `state`."""
        goes_on = state is not None and state.fits(len(self.samplers), self._columns)
        if state is not None:
            self._load_rows(state, goes_on)
            self.crew.fetch([self._learner.submit("restore", state.learner, state.progress)])
            if goes_on:
                parts = zip(self.samplers, state.samplers, strict=True)
                self.crew.fetch([m.worker.submit("restore", *part) for m, part in parts])
            self._snapshot, self._progress = state.learner, state.progress
        (first,) = self.crew.fetch([self._learner.submit("weights")])
        self._channel = SharedWeights.create(first.arrays)
        self.crew.fetch([self._connect_sampler(member) for member in self.samplers])
        self._connect_learner()
        self.go_on()

    def learn(self, part: Slice) -> Report | None:
        """One slice of training; None if the learner was lost over it and replaced."""
        pending = self._learner.submit("learn", part)
        try:
            while not self.crew.is_ready(pending):
                self.crew.wait([pending, *self._running()], LOOK_S)
                self._heal()
            (report,) = self.crew.fetch([pending])
        except WorkerLost as error:
            if self._lock_step:
                raise
            self._replace_learner(error)
            return None
        assert isinstance(report, Report)
        self._progress = report.progress
        if not self._lock_step and time.monotonic() - self._snapshot_s > SNAPSHOT_S:
            self._take_snapshot()
        return report

    def _take_snapshot(self) -> None:
        """Keep what another learner would need, should this one die."""
        self._snapshot_s = time.monotonic()
        try:
            ((self._snapshot, _),) = self.crew.fetch([self._learner.submit("state")])
        except WorkerLost as error:
            self._replace_learner(error)

    def counts(self) -> dict[str, float]:
        """Workers and environments that were replaced so far."""
        failures = sum(member.stream.failures for member in self.samplers)
        return {"replaced_workers": float(self.replaced), "replaced_envs": float(failures)}

    def close(self) -> None:
        """Let go of all channels."""
        for stream in [*self.archives, *(member.stream for member in self.samplers)]:
            stream.close()
        if self._channel is not None:
            self._channel.close()

    def newest_weights(self) -> Weights | None:
        """What was published last, as a copy."""
        return self._weights.read()

    def pause(self) -> TrainingState:
        """Stop the samplers between two blocks; the state of the whole training then."""
        for member in self.samplers:
            member.stream.stop = True
        while any(not self.crew.is_ready(one) for one in self._running()):
            self.crew.wait(self._running(), LOOK_S)
            self._heal()
        self._heal()
        states: list[SamplerState] = self.crew.fetch(
            [member.worker.submit("state") for member in self.samplers]
        )
        ((learner, progress),) = self.crew.fetch([self._learner.submit("state")])
        rows = (
            tuple(StreamRows.of(member.stream) for member in self.samplers)
            if self._section.algorithm.keeps_rows
            else ()
        )
        self._snapshot = learner
        return TrainingState(
            self.spaces,
            progress,
            learner,
            tuple(states),
            rows,
            tuple(StreamRows.of(archive) for archive in self.archives),
        )

    def go_on(self) -> None:
        """Let the samplers run (again)."""
        for member in self.samplers:
            member.stream.stop = False
            if not self._inline:
                member.running = member.worker.submit("run")

    @property
    def _weights(self) -> SharedWeights:
        assert self._channel is not None
        return self._channel

    @property
    def _columns(self) -> int:
        environments = self._section.sampling.envs_per_sampler
        assert isinstance(environments, int)
        return environments * self.spaces.agents

    def _new_stream(self, streams: int) -> Stream:
        spec = self._section.algorithm.stream_spec(self._columns, streams, self.spaces)
        return Stream.create(spec, shared=not self._inline)

    def _load_rows(self, state: TrainingState, goes_on: bool) -> None:
        """Rows of a replay buffer: back where they were, or beside what is written from now on."""
        shared = not self._inline
        self.archives = [held.archive(self.spaces, shared) for held in state.archives]
        if not goes_on:
            self.archives += [held.archive(self.spaces, shared) for held in state.rows]
        elif state.rows:
            for member, held in zip(self.samplers, state.rows, strict=True):
                member.stream.load(held.rows, held.written, held.oldest_row)

    def _spawn_learner(self) -> Worker:
        return spawn_learner(self.crew, self.job, self.spaces)

    def _spawn_sampler(self, index: int, lives: int) -> Worker:
        return spawn_sampler(self.crew, self.job, self.spaces, index, lives)

    def _connect_sampler(self, member: SamplerMember) -> Pending:
        return member.worker.submit("connect", *self._ends(member.stream, self._weights))

    def _connect_learner(self) -> None:
        streams = [self._ends(member.stream)[0] for member in self.samplers]
        archives = [self._ends(archive)[0] for archive in self.archives]
        (weights,) = self._ends(self._weights)
        inline = [
            member.worker.target.sample
            for member in self.samplers
            if isinstance(member.worker, InlineWorker)
        ]
        self.crew.fetch(
            [self._learner.submit("connect", streams, archives, weights, self._lock_step, inline)]
        )

    def _ends(self, *channels: Stream | SharedWeights) -> list[Callable[[], Any]]:
        """How another process, or this one, opens its end of channels."""
        if self._inline:
            return [partial(_same, channel) for channel in channels]
        return [channel.handle.attach for channel in channels]

    def _running(self) -> list[Pending]:
        return [member.running for member in self.samplers if member.running is not None]

    def _heal(self) -> None:
        """Replace samplers that died, and end and replace those that hang."""
        for index, member in enumerate(self.samplers):
            if member.running is None:
                continue
            silent_s = time.monotonic() - member.stream.heartbeat_s
            if self.crew.is_ready(member.running):
                try:
                    self.crew.fetch([member.running])
                    member.running = None
                except WorkerLost as error:
                    self._replace_sampler(index, str(error))
            elif silent_s > self._section.sampling.hang_s:
                self.crew.end(member.worker)
                self._replace_sampler(index, f"sampler {index} gave no sign for {silent_s:.0f} s")

    def _replace_sampler(self, index: int, why: str) -> None:
        if self.job.deterministic:
            raise WorkerLost(why)
        member = self.samplers[index]
        member.lives += 1
        self._count_lost(why)
        member.stream.heartbeat_s = time.monotonic()
        member.worker = self._spawn_sampler(index, member.lives)
        self._connect_sampler(member)
        member.running = None if member.stream.stop else member.worker.submit("run")

    def _replace_learner(self, error: WorkerLost) -> None:
        """A new learner goes on from the last snapshot, with the counters of the last report."""
        self._count_lost(error)
        self._learner = self._spawn_learner()
        self._learner.submit("restore", self._snapshot, self._progress)
        self._connect_learner()


def _same(channel: Any) -> Any:
    return channel
