"""Whom an iteration of coded workers waits for, said in words."""

from collections.abc import Callable, Container, Set
from dataclasses import dataclass, field
from math import inf

from covey.platform.coding.code import Code
from covey.platform.coding.exact import Form
from covey.platform.errors import UserError

TELL_AFTER_S, TELL_AGAIN_S = 5.0, 60.0
"""It says whom it waits for after so many seconds, and not again for so many."""


@dataclass
class Patience:
    """When it was last said that somebody is late: once for many iterations, not in each."""

    told_s: float = -inf


@dataclass
class Waiting:
    """One iteration's. `note` hears of it; times are those of `time.monotonic`."""

    code: Code
    form: Form
    note: Callable[[str, str], None]
    patience: Patience
    began_s: float
    refused: set[int] = field(default_factory=set)
    """Whose results are not finite numbers."""
    lost: set[int] = field(default_factory=set)
    """Who died in this iteration."""
    told: bool = False

    def refuse(self, worker: int) -> None:
        """Its result is not a finite number. UserError if the others could not be enough."""
        self.refused.add(worker)
        self.note("refused", f"coded worker {worker}: its result is not a finite number")
        if not self._enough_without(self.refused):
            raise UserError(
                f"the results of coded workers {_named(self.refused)} are not finite numbers:"
                " training diverged"
            )

    def look(self, received: Container[int], gone: Set[int], now_s: float) -> None:
        """Say once that those who live are not enough, or that somebody is late. `gone`: those
        who died before, and whose successors have not begun.
        """
        if self.told:
            return
        lost = self.lost | gone
        missing = {one for one in self.refused | lost if one not in received}
        if lost and not self._enough_without(missing):
            self.told = True
            self.note(
                "waiting",
                f"without coded workers {_named(missing)} the results are not enough"
                f" ({self.code.name} can do without any {self.code.tolerance}): waiting for others"
                " in their place",
            )
        elif now_s > self.began_s + TELL_AFTER_S:
            self.told = True
            if now_s > self.patience.told_s + TELL_AGAIN_S:
                self.patience.told_s = now_s
                late = {one for one in range(self.code.workers) if one not in received}
                self.note(
                    "waiting",
                    f"for some of coded workers {_named(late)}: later than {TELL_AFTER_S:g} s, and"
                    f" {self.code.name} needs more results",
                )

    def _enough_without(self, missing: set[int]) -> bool:
        return self.form.decodable([w for w in range(self.code.workers) if w not in missing])


def _named(workers: set[int]) -> str:
    return ", ".join(map(str, sorted(workers)))
