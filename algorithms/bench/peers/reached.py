"""When a threshold counts as reached, for all alike: by the mean return of the last 100 training
episodes, and not before there are so many.
"""

import json
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

WINDOW = 100


class Reached:
    """Takes in the returns of finished training episodes; says when training may end."""

    def __init__(self, threshold: float, limit_s: float) -> None:
        self._threshold = threshold
        self._limit_s = limit_s
        self._newest: deque[float] = deque(maxlen=WINDOW)
        self._began = perf_counter()
        self.solved = False

    def take_in(self, returns: Iterable[float]) -> None:
        """Returns in the order in which their episodes ended."""
        for one in returns:
            self._newest.append(float(one))
            if len(self._newest) == WINDOW and self.mean >= self._threshold:
                self.solved = True

    @property
    def mean(self) -> float:
        """Of the episodes there are, at least one."""
        return sum(self._newest) / len(self._newest)

    @property
    def over(self) -> bool:
        """Solved, or out of time."""
        return self.solved or perf_counter() - self._began > self._limit_s

    def record(self, env_steps: int) -> dict[str, Any]:
        """What a run reports."""
        return {
            "solved": self.solved,
            "train_s": perf_counter() - self._began,
            "env_steps": env_steps,
            "episode_return_mean": self.mean if self._newest else None,
        }


def report(train: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Train with the settings on the command line; print the record alone on standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    record = train(json.loads(sys.argv[1]))
    print(json.dumps(record), file=answers, flush=True)
