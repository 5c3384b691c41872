"""Decides whether an environment that raised is worth another one in its place."""

from covey.envs.source import described
from covey.platform.errors import UserError

GRACE = 10
"""Steps that an environment must make after a replacement to be worth a second one."""


class Replacements:
    """What is known about the failures of E environments that are stepped together."""

    def __init__(self, environments: int) -> None:
        self._row = 0
        self._worthy_from = [0] * environments

    def next_row(self) -> None:
        """Every environment was asked for one step, or for one reset."""
        self._row += 1

    def note(self, e: int, name: str, act: str, error: Exception) -> None:
        """Environment e raised in its `act` and is about to be replaced.

        Raises UserError beginning with `name` if that would not help: the one in its place has
        failed too soon.
        """
        if self._row < self._worthy_from[e]:
            raise UserError(f"{name}: {act} failed: {described(error)}") from error
        # The row of the failure and the reset's row are no steps.
        self._worthy_from[e] = self._row + 2 + GRACE
