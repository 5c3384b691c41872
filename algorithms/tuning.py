"""Tunes samplers and environments of a job while it trains: `tuner.py` decides, this measures and
has the team re-formed. A part of the driver's loop, which looks in after every slice.
"""

import time

from covey.algorithms.auto_sampling import limits_of
from covey.algorithms.batch_tuner import BatchTuner
from covey.algorithms.parts import number_of_samplers
from covey.algorithms.progress import Progress
from covey.algorithms.sampling_rate import SamplingRate, all_begun
from covey.algorithms.section import RLSection, Tuning
from covey.algorithms.team import Team
from covey.algorithms.tuner import Measured, Setting, Tuner
from covey.platform.runtime.crew import Crew, WorkerLost
from covey.platform.runtime.meter import cpu_seconds

FIRST_S, FIRST_OTHERS_S = 5.0, 20.0
"""So long nothing is tried, with replay and without: there a short job is over then."""
SETTLE_S = 0.5
"""So long a setting runs at least before it is measured,"""
PATIENCE = 5
"""and so many times as long as a measurement at most, if a sampler has not begun."""
WATCH_S = 20.0
"""Once settled, the rate is looked at over so long at a time."""
REST_S = 60.0
"""Between two such looks; twice as long each time that all has been tried again."""


def tuning_of(team: Team, crew: Crew, progress: Progress) -> "TuningWork | None":
    """What tunes a team; None where nothing is to be tuned."""
    section: RLSection = team.job.section
    tuning = section.sampling.tuning
    if tuning is None or not number_of_samplers(section):
        return None
    return TuningWork(team, crew, progress, tuning)


class TuningWork:
    """See above. `look` does a little at a time, and waits for nothing but a re-forming."""

    def __init__(self, team: Team, crew: Crew, progress: Progress, tuning: Tuning) -> None:
        self._team, self._crew, self._progress, self._tuning = team, crew, progress, tuning
        section: RLSection = team.job.section
        self._tuner = Tuner(team.setting, limits_of(team.job, tuning))
        self._batch: BatchTuner | None = None
        """Goes on once the samplers have been settled."""
        if tuning.batch_size is not None:
            self._batch = BatchTuner(team.batch_size, tuning.batch_size)
        self._rate: SamplingRate | None = None
        self._free = getattr(section.algorithm, "updates_per_step", 1.0) is None
        """Whether the clock says how many updates there are."""
        now = time.monotonic()
        first_s = FIRST_S if section.algorithm.keeps_rows else FIRST_OTHERS_S
        self._first_s, self._rests_s, self._changed_s = now + first_s, 0.0, now
        self._rest_s, self._used_s, self._updates = REST_S, 0.0, 0
        self._note_found()

    def look(self) -> None:
        """Call between two slices of training."""
        if time.monotonic() < self._first_s or not self._progress.updates:
            return
        batch = self._batch
        if self._team.setting != self._tuner.running:
            self._change(self._tuner.running)
        elif batch is not None and self._team.batch_size != batch.running:
            self._team.rebatch(batch.running)
            self._changed_s = time.monotonic()
        elif self._rate is None:
            if time.monotonic() >= self._rests_s:
                self._begin()
        elif self._rate.look():
            self._end(self._rate)

    def _change(self, setting: Setting) -> None:
        try:
            there = self._team.samplers.prepare(setting.samplers)
        except WorkerLost as error:
            self._say(self._tuner.refuse(f"cannot be started: {str(error).splitlines()[0]}"))
            return
        if there and self._team.is_between_turns():
            self._team.reform(setting)
            self._changed_s = time.monotonic()

    def _begin(self) -> None:
        streams, seconds = self._team.samplers.streams, self._tuning.measure_s
        waited_s = time.monotonic() - self._changed_s
        if waited_s >= SETTLE_S and (all_begun(streams) or waited_s > PATIENCE * seconds):
            if self._is_settled:
                self._team.samplers.spare.dismiss()
                seconds = max(WATCH_S, seconds)
            self._rate = SamplingRate(streams, seconds)
            self._used_s, self._updates = self._cpu_s(), self._progress.updates

    @property
    def _is_settled(self) -> bool:
        return self._tuner.settled and (self._batch is None or self._batch.settled)

    def _end(self, rate: SamplingRate) -> None:
        passed = time.monotonic() - rate.began_s
        self._rate = None
        rate_hz, noise = rate.read()
        updates_hz = (self._progress.updates - self._updates) / passed
        measured = Measured(
            rate_hz,
            noise,
            (self._cpu_s() - self._used_s) / passed,
            updates_hz if self._free else None,
        )
        if self._is_settled:
            self._rests_s = time.monotonic() + self._rest_s
            if told := self._tuner.watch(measured):
                self._say(told)
                self._rests_s, self._rest_s = 0.0, 2 * self._rest_s
            return
        if not self._tuner.settled:
            self._say(self._tuner.take(measured))
        elif self._batch is not None:
            self._say(self._batch.take(rate_hz, updates_hz))
        self._note_found()

    def _note_found(self) -> None:
        """For checkpoints."""
        self._team.found = self._tuner.best, 0 if self._batch is None else self._batch.best

    def _say(self, told: str) -> None:
        self._team.note("tuning", told)

    def _cpu_s(self) -> float:
        """CPU time that samplers and learner have used; 0 where some may be on other machines."""
        if self._crew.spans_nodes():
            return 0.0
        busy = ("sampler", "learner")
        pids = [pid for name, pid in self._crew.pids().items() if name.startswith(busy)]
        return sum(cpu_seconds(pid) or 0.0 for pid in pids)
