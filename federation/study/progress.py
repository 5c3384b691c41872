"""What a study says of itself while it runs: a line for each run, and how long the rest takes."""

import time
from collections.abc import Callable

from covey.federation.study.plan import Plan, Trial
from covey.federation.study.record import Record


class Progress:
    """Counts the trials of a plan that have ended; `say` hears a line for each that was run now."""

    def __init__(
        self, plan: Plan, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._plan = plan
        self._say = say
        self._clock = clock
        self._began_s = clock()
        self._count = 0
        self._rounds_left = plan.num_rounds
        self._rounds_run = 0

    def __call__(self, trial: Trial, record: Record, new: bool) -> None:
        """A trial that has ended, now or (not `new`) under an earlier command."""
        self._count += 1
        self._rounds_left -= trial.rounds
        if not new:
            return
        self._rounds_run += trial.rounds
        left_s = (self._clock() - self._began_s) / self._rounds_run * self._rounds_left
        self._say(
            f"{self._count}/{self._plan.num_trials} {trial}: accuracy "
            f"{record.score('accuracy'):.4f} in {record.process_s:.0f} s{_remaining(left_s)}"
        )


def _remaining(left_s: float) -> str:
    if left_s <= 0:
        return ""
    if left_s < 90:
        return f"; {left_s:.0f} s left"
    minutes = round(left_s / 60)
    return f"; {minutes} min left" if minutes < 90 else f"; {minutes / 60:.1f} h left"
