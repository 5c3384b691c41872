"""Injected stragglers: who sits on its result, and for how long."""

from dataclasses import dataclass
from typing import Literal

from numpy.random import PCG64, Generator

from covey.platform.seeds import derive

Distribution = Literal["constant", "exponential", "uniform"]


@dataclass(frozen=True)
class Injection:
    """In every iteration `stragglers` workers, drawn anew or those in `fixed`, wait before they
    send: `delay_s`, or numbers of that mean.
    """

    stragglers: int = 0
    delay_s: float = 0.0
    fixed: tuple[int, ...] = ()
    distribution: Distribution = "constant"
    seed: int = 0

    def draw(self, iteration: int, workers: int) -> list[float]:
        """Seconds for each worker; 0 for those who are not late."""
        generator = Generator(PCG64(derive(self.seed, "stragglers", iteration)))
        late = self.fixed or generator.choice(workers, self.stragglers, replace=False).tolist()
        delays = [0.0] * workers
        for worker in late:
            delays[worker] = self._delay(generator)
        return delays

    def _delay(self, generator: Generator) -> float:
        if self.distribution == "exponential":
            return float(generator.exponential(self.delay_s))
        if self.distribution == "uniform":
            return float(generator.uniform(0.0, 2 * self.delay_s))
        return self.delay_s
