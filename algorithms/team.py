"""The samplers and the learner of a reinforcement-learning job, and the channels between them.

The driver holds every channel, so that nothing is lost with a worker. Samplers run on their own;
the learner is given one slice after another.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from covey.algorithms.joined_rows import archived
from covey.algorithms.learner_seat import LearnerSeat
from covey.algorithms.orders import Report, Slice
from covey.algorithms.parts import least_samplers, number_of_samplers, with_batch, with_setting
from covey.algorithms.replay_config import ReplayConfig
from covey.algorithms.samplers import Samplers
from covey.algorithms.saved import StreamRows, TrainingState
from covey.algorithms.section import RLSection
from covey.algorithms.tuner import Setting
from covey.platform.jobfile.model import JobFile
from covey.platform.runtime.crew import Crew
from covey.platform.runtime.fragment import Weights
from covey.platform.runtime.spaces import Spaces
from covey.platform.runtime.stream import Stream
from covey.platform.runtime.weights_channel import SharedWeights


@dataclass
class Team:
    """See above. `note` hears of every replacement.

    `lives` are those that every sampler had before: each plays episodes of its own. `before` are
    the counts of who worked on this attempt already. `asked` is what a job that tunes itself was to
    begin with, `found` the best so far, with its batch: others are only tried.
    """

    crew: Crew
    job: JobFile
    spaces: Spaces
    note: Callable[[str, str], None]
    lives: int = 0
    before: Mapping[str, float] = field(default_factory=dict)
    asked: Setting | None = None
    found: tuple[Setting, int] | None = None

    def __post_init__(self) -> None:
        self._section: RLSection = self.job.section
        self._archives: list[Stream] = []
        self._samplers: Samplers | None = None
        self._channel: SharedWeights | None = None
        self._shared = number_of_samplers(self._section) > 0
        self._lock_step = not self._shared or self.job.deterministic
        self._replaced = 0
        self._learner = LearnerSeat(
            self.crew, self.job, self.spaces, self._count_lost, self._lock_step
        )

    def start(self, state: TrainingState | None) -> None:
        """Start everybody, from `state` if there is one. Returns when the learner is ready."""
        self.spawn()
        self.begin(state)

    def spawn(self) -> None:
        """Start everybody's process. Returns when all have been made."""
        self._learner.spawn()
        self._samplers = Samplers(
            self.crew, self.job, self.spaces, self._count_lost, self.note, lives=self.lives
        )
        self._learner.first_weights()
        self.samplers.wait_until_made()

    def begin(self, state: TrainingState | None) -> None:
        """Have everybody begin at the beginning, or go on from `state`."""
        samplers = self.samplers
        if state is not None:
            groups = self._section.sampling.groups
            goes_on = state.fits(len(samplers.members), samplers.columns, groups)
            self._load_rows(state, goes_on)
            self._learner.snapshot, self._learner.progress = state.learner, state.progress
            if goes_on:
                samplers.restore(state.samplers)
        self._channel = SharedWeights.create(self._learner.first_weights().arrays)
        samplers.connect(self._channel)
        self._learner.connect(*self._ends())
        self.go_on()

    def learn(self, part: Slice) -> Report | None:
        """One slice of training; None if the learner was lost over it and replaced."""
        report = self._learner.learn(part, self.samplers.heal)
        for kind, message in () if report is None else report.events:
            self.note(kind, message)
        return report

    def counts(self) -> dict[str, float]:
        """Workers and environments that were replaced so far."""
        failures = sum(stream.failures for stream in self.samplers.streams)
        lost = {"replaced_workers": self._replaced, "replaced_envs": failures}
        found = {name: count + self.before.get(name, 0.0) for name, count in lost.items()}
        if least_samplers(self._section) < number_of_samplers(self._section):
            found["samplers"] = self.samplers.count
        if self.asked is not None:
            samplers, environments = self.setting.samplers, self.setting.environments
            found |= {"samplers": samplers, "envs_per_sampler": environments}
            if self.batch_size:
                found["batch_size"] = self.batch_size
        return found

    def close(self) -> None:
        """Let go of all channels."""
        for stream in self._archives:
            stream.close()
        if self._samplers is not None:
            self._samplers.close()
        if self._channel is not None:
            self._channel.close()
        self._learner.close()

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
        learner, progress = self._learner.state()
        setting, batch_size = self.found or (None, None)
        keeps_rows = self._section.algorithm.keeps_rows
        return TrainingState(
            self.spaces,
            progress,
            learner,
            states,
            self.samplers.rows() if keeps_rows else (),
            tuple(StreamRows.of(archive) for archive in self._archives),
            self.samplers.lives,
            setting,
            batch_size,
            self.asked,
        )

    def go_on(self) -> None:
        """Let the samplers run (again)."""
        self.samplers.go_on()

    @property
    def setting(self) -> Setting:
        """How many samplers there are, and how many environments each has."""
        environments = self.samplers.columns // self.spaces.agents
        return Setting(len(self.samplers.members), environments)

    def is_between_turns(self) -> bool:
        """Whether nothing would be lost by halting: where samplers take turns with the learner, no
        block is being filled, or waits to be learnt from.
        """
        return not self._section.algorithm.takes_turns or all(
            stream.permitted == stream.blocks_written == stream.blocks_released
            for stream in self.samplers.streams
        )

    @property
    def batch_size(self) -> int:
        """Of an algorithm with replay."""
        algorithm = self._section.algorithm
        return algorithm.batch_size if isinstance(algorithm, ReplayConfig) else 0

    def rebatch(self, batch_size: int) -> None:
        """Have the learner take so many transitions in each gradient step, from between two
        slices.
        """
        self._learner.state()  # for who has to take its place meanwhile
        self.job = with_batch(self.job, batch_size)
        self._section = self.job.section
        self._learner.remake(self.job)

    def reform(self, setting: Setting) -> None:
        """Go on with so many samplers and environments, from between two slices: processes stay as
        far as they are needed, and so do the rows of a replay buffer.
        """
        self.halt()
        self._learner.state()  # what has been sampled counts
        self.job = with_setting(self.job, setting)
        self._section = self.job.section
        before = self.samplers.reform(self.job)
        algorithm = self._section.algorithm
        if isinstance(algorithm, ReplayConfig):
            held = [*self._archives, *before]
            self._archives = archived(held, self.spaces, algorithm.buffer_size)
        else:
            for stream in before:
                stream.close()
        self.samplers.connect(self._weights)
        self._learner.reconnect(*self._ends())
        self._learner.state()  # from before there is none that knows where rows lie now
        self.go_on()

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

    def _ends(self) -> tuple[Any, ...]:
        """The learner's, of all channels."""
        streams = opened(self._shared, *self.samplers.streams)
        archives = opened(self._shared, *self._archives)
        (weights,) = opened(self._shared, self._weights)
        return streams, archives, weights, self._lock_step, self.samplers.inline

    def _count_lost(self, why: str) -> None:
        """Note that somebody is replaced."""
        self._replaced += 1
        self.note("replaced", f"{why.splitlines()[0]}; another one goes on in its place")


def opened(shared: bool, *channels: Any) -> list[Callable[[], Any]]:
    """How another process, or this one, opens its end of channels."""
    if shared:
        return [channel.handle.attach for channel in channels]
    return [partial(_same, channel) for channel in channels]


def _same(channel: Any) -> Any:
    return channel
