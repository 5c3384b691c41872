"""What the training loop has counted so far, and the figures it reports."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from covey.platform.runtime.fragment import Fragment
from covey.platform.runtime.interfaces import Record

WINDOW = 100
"""`episode_return_mean` is the mean of so many finished training episodes, the newest ones."""


@dataclass
class Progress:
    """Counters of one training run; part of every checkpoint."""

    env_steps: int = 0
    iterations: int = 0
    updates: int = 0
    episodes: int = 0
    evaluated_at: int = 0
    evaluated: dict[str, float] = field(default_factory=dict)
    """What the newest evaluation found; empty before the first."""
    returns: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    lengths: deque[int] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def take_in(self, fragments: Iterable[Fragment]) -> int:
        """Count the episodes and steps of one iteration's fragments, in sampler order; returns the
        steps.
        """
        before = self.env_steps
        self.iterations += 1
        for fragment in fragments:
            self.env_steps += fragment.env_steps
            self.episodes += len(fragment.episodes.returns)
            self.returns.extend(fragment.episodes.returns.tolist())
            self.lengths.extend(fragment.episodes.lengths.tolist())
        return self.env_steps - before

    def metrics(self) -> dict[str, float]:
        """Returns are undiscounted and unnormalised; nothing is said before a first episode has
        ended.
        """
        found = {
            "env_steps": float(self.env_steps),
            "episodes": float(self.episodes),
            "updates": float(self.updates),
        }
        if self.returns:
            found["episode_return_mean"] = sum(self.returns) / len(self.returns)
            found["episode_length_mean"] = sum(self.lengths) / len(self.lengths)
        return found

    def stop_metrics(self) -> dict[str, float]:
        """What may end the training: a mean counts only once it is one of `WINDOW` episodes, that
        of an evaluation as it comes.
        """
        return (self.metrics() if len(self.returns) == WINDOW else {}) | self.evaluated

    def has_reached(self, target: float | None) -> bool:
        """Whether `episode_return_mean`, as it counts for stopping, is at least `target`."""
        return target is not None and self.stop_metrics().get("episode_return_mean", -inf) >= target

    def take_over(self, record: Record) -> None:
        """Stand where the learner's counters stand; what the driver counts stays."""
        newer = Progress.from_record(record)
        for name in ("env_steps", "iterations", "updates", "episodes", "returns", "lengths"):
            setattr(self, name, getattr(newer, name))

    def side_work(self) -> Record:
        """What the driver counts."""
        return {"evaluated_at": self.evaluated_at, "evaluated": self.evaluated}

    def to_record(self) -> Record:
        return {
            "env_steps": self.env_steps,
            "iterations": self.iterations,
            "updates": self.updates,
            "episodes": self.episodes,
            **self.side_work(),
            "returns": list(self.returns),
            "lengths": list(self.lengths),
        }

    @classmethod
    def from_record(cls, record: Record) -> "Progress":
        """The inverse of `to_record`."""
        return cls(
            **{
                **record,
                "returns": deque(record["returns"], maxlen=WINDOW),
                "lengths": deque(record["lengths"], maxlen=WINDOW),
            }
        )
