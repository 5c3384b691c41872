"""Chooses among codes while they are used, from how long iterations take under each.

Pure: it is asked which code comes next and told how long that took. An iteration that takes
`PATIENCE` times what it should is given up and done again, in the end under the first code, which
does without most workers: so neither a trial costs more than that, nor a worker that has become
late, or hangs.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from statistics import mean, median

TRIALS = 3
"""Of each code before a choice: with six codes a choice stands after 18 iterations."""
WINDOW = 9
"""The newest iterations under a code count."""
RECENT = 5
"""Of them, those that show whether it has become slow."""
PATIENCE = 3.0
FLOOR_S = 0.1
"""Nothing is given up before: where iterations are short, a busy machine triples some."""
PROBE_EVERY = 50
"""After so many iterations one other code is tried again: costs show only when they are paid."""
BETTER = 0.9
"""Another code is taken when it needs at most this part of the time."""
WORSE = 1.5
"""Codes that were faster are tried again when the chosen one takes so many times what it did."""


@dataclass
class Candidate:
    """A code, and what its newest iterations took (seconds); those that were given up, as long as
    they were waited for.
    """

    name: str
    times: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    given_up: int = 0

    @property
    def mean_s(self) -> float:
        """What it costs, rare delays included; inf before the first."""
        return mean(self.times) if self.times else inf

    def forget(self) -> None:
        """Begin anew."""
        self.keep(0)

    def keep(self, newest: int) -> None:
        """Only so many iterations."""
        while len(self.times) > newest:
            self.times.popleft()
        self.given_up = min(self.given_up, newest)

    def __str__(self) -> str:
        if self.given_up >= len(self.times):
            return f"{self.name} too long"
        over = "over " if self.given_up else ""
        return f"{self.name} {over}{1000 * self.mean_s:.1f} ms"


class Chooser:
    """`names`: of the codes; the first is the one to begin with, and to fall back on. `say` hears
    of each choice.
    """

    def __init__(self, names: Sequence[str], say: Callable[[str], None]) -> None:
        self._candidates = [Candidate(name) for name in names]
        self._say = say
        self._chosen: int | None = None
        self._chosen_s = inf
        self._trials = self._all_trials()
        self._since_probe = 0
        self._next_probe = 0

    def next(self) -> tuple[int, float]:
        """The code of the next iteration, and after how many seconds to give it up (inf: never)."""
        if self._trials:
            return self._trials[0], self._limit_s(self._trials[0])
        assert self._chosen is not None
        return self._chosen, self._limit_s(self._chosen)

    def instead(self, given_up: int) -> tuple[int, float]:
        """Under which code to do again an iteration that was given up, and for how long."""
        if given_up or not self.best:
            return 0, inf
        return self.best, self._limit_s(self.best)

    def _limit_s(self, code: int) -> float:
        if code == 0 and 0 in (self.best, self._chosen):
            return inf
        return max(PATIENCE * (self.best_s if self._trials else self._chosen_s), FLOOR_S)

    @property
    def best(self) -> int:
        """The code that is fastest as far as is known."""
        return min(range(len(self._candidates)), key=lambda k: self._candidates[k].mean_s)

    @property
    def best_s(self) -> float:
        """What it takes."""
        return self._candidates[self.best].mean_s

    def took(self, code: int, seconds: float) -> None:
        """An iteration under the code that `next` told took so long (inf: it was given up)."""
        candidate, given_up = self._candidates[code], seconds == inf
        candidate.times.append(self._limit_s(code) if given_up else seconds)
        candidate.given_up += given_up
        if self._trials:
            self._trials = [k for k in self._trials[1:] if not (given_up and k == code)]
            if not self._trials:
                self._choose()
            return
        self._since_probe += 1
        if self._has_become_slow():
            self._try_faster_ones(code)
        elif self._since_probe >= PROBE_EVERY and len(self._candidates) > 1:
            self._since_probe = 0
            others = [k for k in range(len(self._candidates)) if k != self._chosen]
            probed = others[self._next_probe % len(others)]
            self._next_probe += 1
            self._candidates[probed].forget()
            self._trials = [probed] * TRIALS

    def _try_faster_ones(self, slow: int) -> None:
        """After the chosen code has become slow. Where none was faster than it is now there is
        nothing to try: the few iterations that it was chosen for were lucky ones.
        """
        was_s, self._chosen_s = self._chosen_s, self._recent_s(slow)
        self._candidates[slow].keep(RECENT)
        others = [k for k in range(len(self._candidates)) if k != slow]
        faster = [k for k in others if self._candidates[k].mean_s < self._chosen_s]
        if faster:
            name = self._candidates[slow].name
            told = f"{name} takes {1000 * self._chosen_s:.1f} ms instead of {1000 * was_s:.1f} ms"
            self._say(f"{told}: trying again what was faster")
        for one in faster:
            self._candidates[one].forget()
        self._trials = faster * TRIALS

    def _all_trials(self) -> list[int]:
        return list(range(len(self._candidates))) * TRIALS

    def _recent_s(self, code: int) -> float:
        return median(list(self._candidates[code].times)[-RECENT:])

    def _has_become_slow(self) -> bool:
        assert self._chosen is not None
        times = self._candidates[self._chosen].times
        return len(times) == WINDOW and self._recent_s(self._chosen) > WORSE * self._chosen_s

    def _choose(self) -> None:
        best, chosen = self.best, self._chosen
        if chosen is not None:
            kept_s = self._candidates[chosen].mean_s
            if best != chosen and self.best_s > BETTER * kept_s:
                best = chosen
        if best != chosen:
            told = ", ".join(map(str, self._candidates))
            self._say(f"{self._candidates[best].name} from now on; an iteration takes: {told}")
        self._chosen, self._chosen_s = best, self._candidates[best].mean_s
