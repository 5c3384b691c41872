"""The samplers and the learner of a reinforcement-learning job, and the channels between them.

The driver holds every channel, so that nothing is lost with a worker. Samplers run on their own;
the learner is asked for one slice after another.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from covey.algorithms.learner import LearnerState
from covey.algorithms.loop import LearnerLoop, Report, Slice
from covey.algorithms.parts import number_of_samplers
from covey.algorithms.progress import Progress
from covey.algorithms.samplers import LOOK_S, STARTS, Samplers, opened
from covey.algorithms.saved import StreamRows, TrainingState
from covey.algorithms.section import RLSection
from covey.platform.jobfile.model import JobFile
from covey.platform.runtime.crew import Crew, WorkerLost
from covey.platform.runtime.fragment import Weights
from covey.platform.runtime.interfaces import Record
from covey.platform.runtime.spaces import Spaces
from covey.platform.runtime.stream import Stream
from covey.platform.runtime.weights_channel import SharedWeights

SNAPSHOT_S = 10.0
"""So often the learner's state is copied, for another one to go on from."""


@dataclass
class Team:
    """See above. `note` hears of every replacement.

    `lives` are those that every sampler had before: each plays episodes of its own. `before` are
    the counts of who worked on this attempt already.
    """

    crew: Crew
    job: JobFile
    spaces: Spaces
    note: Callable[[str, str], None]
    lives: int = 0
    before: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._section: RLSection = self.job.section
        self._archives: list[Stream] = []
        self._samplers: Samplers | None = None
        self._channel: SharedWeights | None = None
        self._shared = number_of_samplers(self._section) > 0
        self._lock_step = not self._shared or self.job.deterministic
        self._replaced = 0
        self._snapshot: LearnerState | None = None
        self._snapshot_s = time.monotonic()
        self._progress = Progress().to_record()

    def start(self, state: TrainingState | None) -> None:
        """Start everybody, from `state` if there is one. Returns when the learner is ready."""
        self.spawn()
        self.begin(state)

    def spawn(self) -> None:
        """Start everybody's process. Returns when all have been made."""
        self._spawn_learner()
        self._samplers = Samplers(
            self.crew, self.job, self.spaces, self._count_lost, lives=self.lives
        )
        self._first_weights()
        self.samplers.wait_until_made()

    def begin(self, state: TrainingState | None) -> None:
        """Have everybody begin at the beginning, or go on from `state`."""
        samplers = self.samplers
        if state is not None:
            groups = self._section.sampling.groups
            goes_on = state.fits(len(samplers.members), samplers.columns, groups)
            self._load_rows(state, goes_on)
            self._snapshot, self._progress = state.learner, state.progress
            if goes_on:
                samplers.restore(state.samplers)
        self._channel = SharedWeights.create(self._first_weights().arrays)
        samplers.connect(self._channel)
        self._connect_learner()
        self.go_on()

    def learn(self, part: Slice) -> Report | None:
        """One slice of training; None if the learner was lost over it and replaced."""
        pending = self._learner.submit("learn", part)
        try:
            while not self.crew.is_ready(pending):
                self.crew.wait([pending, *self.samplers.running()], LOOK_S)
                self.samplers.heal()
            (report,) = self.crew.fetch([pending])
        except WorkerLost as error:
            self._replace_learner(error)
            return None
        assert isinstance(report, Report)
        self._progress = report.progress
        for kind, message in report.events:
            self.note(kind, message)
        if not self._lock_step and time.monotonic() - self._snapshot_s > SNAPSHOT_S:
            self._snapshot_s = time.monotonic()
            self._snapshot, _ = self._learner_state()
        return report

    def counts(self) -> dict[str, float]:
        """Workers and environments that were replaced so far."""
        failures = sum(stream.failures for stream in self.samplers.streams)
        found = {"replaced_workers": self._replaced, "replaced_envs": failures}
        return {name: count + self.before.get(name, 0.0) for name, count in found.items()}

    def close(self) -> None:
        """Let go of all channels."""
        for stream in self._archives:
            stream.close()
        if self._samplers is not None:
            self._samplers.close()
        if self._channel is not None:
            self._channel.close()

    def newest_weights(self) -> Weights | None:
        """What was published last, as a copy."""
        return self._weights.read()

    def halt(self) -> None:
        """Stop the samplers between two blocks."""
        self.samplers.halt()

    def pause(self) -> TrainingState:
        """Stop the samplers between two blocks; the state of the whole training then."""
        self.halt()
        states = self.samplers.states()
        self._snapshot, progress = self._learner_state()
        keeps_rows = self._section.algorithm.keeps_rows
        return TrainingState(
            self.spaces,
            progress,
            self._snapshot,
            states,
            self.samplers.rows() if keeps_rows else (),
            tuple(StreamRows.of(archive) for archive in self._archives),
            self.samplers.lives,
        )

    def go_on(self) -> None:
        """Let the samplers run (again)."""
        self.samplers.go_on()

    @property
    def samplers(self) -> Samplers:
        """Once they are spawned."""
        assert self._samplers is not None
        return self._samplers

    @property
    def _weights(self) -> SharedWeights:
        assert self._channel is not None
        return self._channel

    def _load_rows(self, state: TrainingState, goes_on: bool) -> None:
        """Rows of a replay buffer: back where they were, or beside what is written from now on."""
        archived = state.archives if goes_on else state.archives + state.rows
        self._archives = [held.archive(self.spaces, self._shared) for held in archived]
        if goes_on and state.rows:
            for stream, held in zip(self.samplers.streams, state.rows, strict=True):
                stream.load(held.rows, held.written, held.oldest_row)

    def _spawn_learner(self) -> None:
        self._learner = self.crew.spawn(
            "learner",
            LearnerLoop,
            self._section,
            self.spaces,
            self.job.seed,
            threads_of(self.job),
            self.crew.helpers(),
        )

    def _first_weights(self) -> Weights:
        """Those of a learner that goes on from the snapshot, or begins; who dies over it is
        replaced.
        """
        for left in reversed(range(STARTS)):
            try:
                restored = self._learner.submit("restore", self._snapshot, self._progress)
                _, weights = self.crew.fetch([restored, self._learner.submit("weights")])
                assert isinstance(weights, Weights)
                return weights
            except WorkerLost as error:
                if not left:
                    raise
                self._count_lost(str(error))
                self._spawn_learner()
        raise AssertionError("there is a last try")

    def _connect_learner(self) -> None:
        streams = opened(self._shared, *self.samplers.streams)
        archives = opened(self._shared, *self._archives)
        (weights,) = opened(self._shared, self._weights)
        ends = (streams, archives, weights, self._lock_step, self.samplers.inline)
        self.crew.fetch([self._learner.submit("connect", *ends)])

    def _learner_state(self) -> tuple[LearnerState, Record]:
        for left in reversed(range(STARTS)):
            try:
                (state,) = self.crew.fetch([self._learner.submit("state")])
                found: tuple[LearnerState, Record] = state
                return found
            except WorkerLost as error:
                if not left:
                    raise
                self._replace_learner(error)
        raise AssertionError("there is a last try")

    def _replace_learner(self, error: WorkerLost) -> None:
        """A new learner goes on from the last snapshot, with the counters of the last report."""
        if self._lock_step:
            raise error
        for left in reversed(range(STARTS)):
            self._count_lost(str(error))
            self._spawn_learner()
            try:
                self._first_weights()
                self._connect_learner()
                return
            except WorkerLost as again:
                if not left:
                    raise
                error = again

    def _count_lost(self, why: str) -> None:
        """Note that somebody is replaced."""
        self._replaced += 1
        self.note("replaced", f"{why.splitlines()[0]}; another one goes on in its place")


def threads_of(job: JobFile) -> int:
    """The learner's: one a CPU that no sampler keeps busy while it works."""
    section: RLSection = job.section
    busy = 0 if section.algorithm.takes_turns else number_of_samplers(section)
    return max(1, int(job.resources.cpus) - busy)
