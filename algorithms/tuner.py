"""Decides what an auto-tuned job tries next; who measures is `tuning.py`. No clock, no processes.

tuner = Tuner(start, limits)
while not tuner.settled:
    told = tuner.take(measured)            # of tuner.running
    ...                                    # note what is told, and run tuner.running
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isqrt, sqrt

GAIN, SURE = 0.05, 3
"""A setting that takes more than the best so far is kept for so much more, and so many times the
uncertainty of its measurement, which is made twice where that is the question."""
SAME = 0.03
"""One with fewer samplers is kept if it loses no more than this."""
MOVED = 0.2
"""Once settled, everything is tried again when the rate has moved so far."""
OWN_CPUS = 1.1
"""More samplers are not kept if the job then uses more than its CPUs, or so many times them."""


@dataclass(frozen=True, order=True)
class Setting:
    """So many samplers, with so many environments each."""

    samplers: int
    environments: int

    def __str__(self) -> str:
        return f"{self.samplers} x {self.environments}"


@dataclass(frozen=True)
class Measured:
    """Environment steps a second, how uncertain that is (a fraction of it), and the CPUs that
    samplers and learner used meanwhile. `updates_hz` is given where nothing but the clock says how
    many updates there are.
    """

    rate_hz: float
    noise: float = 0.0
    cpus: float = 0.0
    updates_hz: float | None = None


@dataclass(frozen=True)
class Limits:
    """What may be tried: from so many to so many samplers, and environments each; with `total`,
    only what has so many environments in all, and never more than `most`. `cpus` are the job's.
    """

    samplers: tuple[int, int]
    environments: tuple[int, int]
    cpus: float
    total: int | None = None
    most: float = inf

    def allow(self, setting: Setting) -> bool:
        """Whether it may be tried."""
        in_all = setting.samplers * setting.environments
        return self.total in (None, in_all) and in_all <= self.most


class Tuner:
    """Climbs on a grid of doublings: a move that paid is made again, twice as far; one that did not
    is taken back. No setting is tried twice, so it settles.
    """

    def __init__(self, start: Setting, limits: Limits) -> None:
        self.best = start
        """The setting to be used in the end."""
        self.running = start
        """The setting that is to be measured now."""
        self.settled = False
        self._limits = limits
        self._found: Measured | None = None
        self._peak_hz = self._settled_hz = 0.0
        self._earlier: Measured | None = None
        """The first of two measurements of what is running."""
        self._tried = {start}
        self._last = (0, 0)
        """The move that paid last, in doublings of samplers and of environments."""

    def take(self, measured: Measured) -> str:
        """Take in what `running` gave; what to tell the user of that. `running` is the next one
        then, and the best one once there is none.
        """
        if self._earlier is not None:
            measured, self._earlier = mean(self._earlier, measured), None
        elif self._is_doubtful(measured):
            self._earlier = measured
            change = measured.rate_hz / self._peak_hz - 1
            told = f"{self.running}: {rate(measured.rate_hz)}, {compared(change)}"
            return f"{told}, uncertain by {100 * measured.noise:.0f} %: once more"
        return self._next(self._judge(measured))

    def _is_doubtful(self, measured: Measured) -> bool:
        """Whether it may be better than the best, and may be noise."""
        change = measured.rate_hz / self._peak_hz - 1 if self._peak_hz else 0.0
        return GAIN <= change < SURE * measured.noise

    def _next(self, told: str) -> str:
        following = next(self._candidates(), None)
        self.settled = following is None
        self.running = following or self.best
        if following is None:
            return f"{told}; nothing near is better: settled at {self.best}"
        self._tried.add(following)
        return f"{told}; trying {following}"

    def refuse(self, why: str) -> str:
        """`running` cannot be had: what to tell of that, and the next one to measure."""
        self.running, refused = self.best, self.running
        return self._next(f"{refused}: {why}")

    def watch(self, measured: Measured) -> str | None:
        """Once settled: what to tell if the rate has moved so far since this was first called that
        all is to be tried anew; `running` is to be measured then.
        """
        assert self.settled
        before = self._settled_hz = self._settled_hz or measured.rate_hz
        if abs(measured.rate_hz - before) <= MOVED * before:
            return None
        self._found, self._tried, self._last = None, {self.best}, (0, 0)
        self.settled, self._peak_hz, self._settled_hz = False, 0.0, 0.0
        return (
            f"{self.best}: {rate(measured.rate_hz)}, {rate(before)} when it was settled: trying"
            " others again"
        )

    def _judge(self, measured: Measured) -> str:
        told = f"{self.running}: {rate(measured.rate_hz)}"
        if self._found is None:
            self._keep(measured)
            return f"{self.running} (samplers x environments each): {rate(measured.rate_hz)}"
        change = measured.rate_hz / self._peak_hz - 1
        told += f", {compared(change)}"
        refusal = self._refusal(measured, change)
        if refusal is not None:
            return f"{told}: {refusal}"
        self._last = self._move_to(self.running)
        if change >= 1:  # twice as far for more than twice as much: what lies between is less
            self._tried.add(between(self.best, self.running))
        self._keep(measured)
        fewer = change <= 0
        return f"{told} with fewer samplers: kept" if fewer else f"{told}: kept"

    def _refusal(self, measured: Measured, change: float) -> str | None:
        """Why what ran is not kept; None if it is."""
        assert self._found is not None
        smaller = self.running.samplers < self.best.samplers
        needed = -SAME if smaller else max(GAIN, SURE * measured.noise)
        if change < needed:
            why = f" ({100 * needed:.0f} % would count)" if change > 0 else ""
            return f"back to {self.best}{why}"
        own = OWN_CPUS * max(self._limits.cpus, self._found.cpus)
        if self.running.samplers > self.best.samplers and measured.cpus > own:
            return (
                f"but it uses {measured.cpus:.1f} CPUs, and resources.cpus are"
                f" {self._limits.cpus:g}: back to {self.best}"
            )
        before, now = self._found.updates_hz, measured.updates_hz
        if before is not None and now is not None and now < (1 - 2 * GAIN) * before:
            return (
                f"but updates fall from {before:,.0f} to {now:,.0f} a second: back to {self.best}"
            )
        return None

    def _keep(self, measured: Measured) -> None:
        self.best, self._found = self.running, measured
        self._peak_hz = max(self._peak_hz, measured.rate_hz)

    def _move_to(self, setting: Setting) -> tuple[int, int]:
        """The direction from the best setting."""
        ours, theirs = self.best, setting
        return sign(theirs.samplers - ours.samplers), sign(theirs.environments - ours.environments)

    def _candidates(self) -> Iterator[Setting]:
        """Settings near the best one that were not tried, the most promising first."""
        directions = [(1, 0), (0, 1), (-1, 0), (0, -1)]
        if self._limits.total is not None:
            directions = [(1, -1), (-1, 1)]
        if self._last in directions:
            directions.remove(self._last)
            directions.insert(0, self._last)
        for direction in directions:
            for doublings in (2, 1) if direction == self._last else (1,):
                found = self._at(direction, doublings)
                if found not in self._tried and self._limits.allow(found):
                    yield found

    def _at(self, direction: tuple[int, int], doublings: int) -> Setting:
        """So far from the best one, or as far as the limits let it be."""
        now = (self.best.samplers, self.best.environments)
        bounds = (self._limits.samplers, self._limits.environments)
        moved = (
            max(least, min(most, int(number * 2.0 ** (step * doublings))))
            for number, (least, most), step in zip(now, bounds, direction, strict=True)
        )
        return Setting(*moved)


def between(one: Setting, other: Setting) -> Setting:
    """The setting in the middle of two, in doublings."""
    return Setting(
        isqrt(one.samplers * other.samplers), isqrt(one.environments * other.environments)
    )


def mean(one: Measured, other: Measured) -> Measured:
    """Of two measurements of the same."""
    updates = (one.updates_hz, other.updates_hz)
    return Measured(
        (one.rate_hz + other.rate_hz) / 2,
        (one.noise + other.noise) / 2 / sqrt(2),
        (one.cpus + other.cpus) / 2,
        None if None in updates else sum(filter(None, updates)) / 2,
    )


def sign(number: int) -> int:
    """-1, 0 or 1."""
    return (number > 0) - (number < 0)


def rate(steps_hz: float) -> str:
    """In words."""
    return f"{steps_hz:,.0f} steps/s"


def compared(change: float) -> str:
    """A relative change in words."""
    percent = round(100 * abs(change))
    if not percent:
        return "as many"
    return f"{percent} % {'more' if change > 0 else 'less'}"
