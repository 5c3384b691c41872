"""Injected stragglers: who sits on its result, and for how long."""

from dataclasses import dataclass
from typing import Literal

from numpy.random import PCG64, Generator

from covey.platform.seeds import derive

CRASH = -1.0
Distribution = Literal["constant", "exponential", "uniform"]


@dataclass(frozen=True)
class Injection:
    """In every iteration `stragglers` workers, drawn anew or those in `fixed`, wait before they
    send: `delay_s`, or numbers of that mean. In every `crash_every`-th one of all workers dies.
    """

    stragglers: int = 0
    delay_s: float = 0.0
    fixed: tuple[int, ...] = ()
    distribution: Distribution = "constant"
    crash_every: int | None = None
    seed: int = 0

    def draw(self, iteration: int, workers: int) -> list[float]:
        """Seconds for each worker; 0 for those who are not late, CRASH for who is to die."""
        generator = Generator(PCG64(derive(self.seed, "stragglers", iteration)))
        late = self.fixed or generator.choice(workers, self.stragglers, replace=False).tolist()
        delays = [0.0] * workers
        for worker in late:
            delays[worker] = self._delay(generator)
        if self.crash_every and iteration % self.crash_every == self.crash_every - 1:
            delays[int(generator.integers(workers))] = CRASH
        return delays

    def _delay(self, generator: Generator) -> float:
        if self.distribution == "exponential":
            return float(generator.exponential(self.delay_s))
        if self.distribution == "uniform":
            return float(generator.uniform(0.0, 2 * self.delay_s))
        return self.delay_s
