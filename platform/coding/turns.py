"""Who begins when, where there are fewer cores than coded workers.

Workers with more tasks than others are there for stragglers. Were they to begin with the others,
they would take the cores from them; a core that has run out of other work would take theirs up, and
leave it to the other cores to finish what everybody waits for.
"""

from collections import deque
from math import inf

from covey.platform.coding.code import Code

PATIENCE = 1.25
"""Who has not answered after so many times what its tasks should take is a straggler."""


class Turns:
    """The turns of one iteration. `task_s` is what a task takes; until that is known, None, all
    begin at once. Times are seconds on any one clock.
    """

    def __init__(self, code: Code, cores: int, task_s: float | None) -> None:
        heavy = set() if task_s is None else code.heavy
        self._loads = [len(code.tasks_of(worker)) for worker in range(code.workers)]
        self._light = [worker for worker in range(code.workers) if worker not in heavy]
        self._waiting = deque(sorted(heavy))
        self._cores, self._task_s = cores, task_s or 0.0
        self._ends_s: dict[int, float] = {}
        """When those who have begun and not answered should be done at the latest."""

    def begin(self, now_s: float) -> list[int]:
        """Who begins with the iteration."""
        loads = [self._loads[worker] for worker in self._light]
        span = max(max(loads), sum(loads) / self._cores) * self._task_s
        self._ends_s = dict.fromkeys(self._light, now_s + PATIENCE * span)
        return self._light + self.due(now_s)

    def answered(self, worker: int) -> None:
        """Its core is free."""
        self._ends_s.pop(worker, None)

    def due(self, now_s: float) -> list[int]:
        """Who begins now: one for each core that nobody is thought to use."""
        busy = sum(end_s > now_s for end_s in self._ends_s.values())
        begin: list[int] = []
        while self._waiting and busy + len(begin) < self._cores:
            begin.append(self._waiting.popleft())
        for worker in begin:
            self._ends_s[worker] = now_s + PATIENCE * self._loads[worker] * self._task_s
        return begin

    def next_s(self, now_s: float) -> float:
        """When to ask again at the latest, if nobody answers before."""
        if not self._waiting:
            return inf
        return min((end_s for end_s in self._ends_s.values() if end_s > now_s), default=inf)
