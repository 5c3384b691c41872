"""The actions of the episodes under way: played again from the same seed, they lead back to where
an environment stands whose state cannot be saved.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.platform.runtime.interfaces import Arrays

TRIM_AFTER = 1000


class ActionHistory:
    """The actions [E, ...] of each row, kept for as long as an episode that they belong to lasts.

    One array a row for all E environments: far cheaper than a list for each of them.
    """

    def __init__(self, environments: int) -> None:
        self._rows: list[NDArray[Any]] = []
        self._began = [0] * environments

    def keep(self, actions: NDArray[Any]) -> None:
        """Note the actions of a row, before it is taken."""
        self._rows.append(actions.copy())

    def begin(self, e: int) -> None:
        """A new episode of environment e: what was kept so far, it forgets."""
        self._began[e] = len(self._rows)
        oldest = min(self._began)
        if oldest > TRIM_AFTER:
            del self._rows[:oldest]
            self._began = [began - oldest for began in self._began]

    def arrays(self, empty: NDArray[Any]) -> Arrays:
        """`actions.e` [n, ...] for every e; `empty` [0, ...] has the shape and dtype of actions of
        one environment.
        """
        return {
            f"actions.{e}": np.array(
                [row[e] for row in self._rows[began:]], dtype=empty.dtype
            ).reshape(-1, *empty.shape[1:])
            for e, began in enumerate(self._began)
        }

    def load(self, arrays: Arrays) -> None:
        """The inverse of `arrays`."""
        each = [arrays[f"actions.{e}"] for e in range(len(self._began))]
        longest = max(map(len, each))
        rows = np.zeros((longest, len(each), *each[0].shape[1:]), dtype=each[0].dtype)
        self._began = [longest - len(actions) for actions in each]
        for e, actions in enumerate(each):
            rows[self._began[e] :, e] = actions
        self._rows = list(rows)
