"""Ape-X's policy in the form that acts: it also tells how wrong its values were, so that a replay
need not wait for the learner to know what is surprising (Horgan et al. 2018, section 3).

Shapes: T rows of a block, H = n-1 rows before it, B columns, A actions.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.algorithms.policy_greedy import Floats, GreedyPolicy, Values
from covey.platform.runtime.fragment import Rows
from covey.platform.runtime.interfaces import Arrays
from covey.platform.runtime.spaces import Spaces


class RatingGreedyPolicy(GreedyPolicy):
    """See `RatingPolicy`. The values that it acts by are kept until the block is full: only the
    observation that the last row led to is looked at for the errors' sake.
    """

    def __init__(
        self,
        spaces: Spaces,
        values: Values,
        exponents: NDArray[np.float64],
        *,
        dueling: bool,
        gamma: float,
        steps: int,
    ) -> None:
        super().__init__(spaces, values, exponents)
        self._dueling, self._gamma, self._steps = dueling, gamma, steps
        self._heads: list[Floats] = []
        self._before = unknown(steps - 1, len(exponents))

    def _head(self, observations: NDArray[Any]) -> Floats:
        head = super()._head(observations)
        self._heads.append(head)
        return head

    def rate(self, rows: Rows, first: int) -> None:
        acted, self._heads = np.concatenate(self._heads), []
        if not rows.td_errors.size:
            return
        columns, block = rows.rewards.shape[1], unknown(rows.steps, rows.rewards.shape[1])
        values = self._action_values(acted)
        actions = rows.actions[first:].reshape(-1, 1)
        taken = np.take_along_axis(values, actions, axis=1)
        block["taken"][first:] = taken.reshape(-1, columns)
        block["best"][first:] = values.max(axis=1).reshape(-1, columns)
        for name in ("rewards", "terminated", "truncated", "valid"):
            block[name] = getattr(rows, name)
        joined = {n: np.concatenate((self._before[n], block[n])) for n in block}
        following = self._action_values(super()._head(rows.observations[-1])).max(axis=1)
        joined["best"] = np.vstack((joined["best"], following))
        rows.td_errors[:] = td_errors(joined, self._gamma, self._steps)
        self._before = {n: a[rows.steps : rows.steps + self._steps - 1] for n, a in joined.items()}

    def _action_values(self, head: Floats) -> Floats:
        """[N, A], also of a dueling head [N, 1+A] (Wang et al. 2016, eq. 9)."""
        if not self._dueling:
            return head
        value, advantages = head[:, :1], head[:, 1:]
        found: Floats = value + advantages - advantages.mean(axis=1, keepdims=True)
        return found

    def remembered(self) -> Arrays:
        return {name: array.copy() for name, array in self._before.items()}

    def remember(self, arrays: Arrays) -> None:
        self._before = dict(arrays)


def unknown(rows: int, columns: int) -> Arrays:
    """What there is to know of rows [rows, columns] for their errors, without knowing it yet: the
    values of the action taken and of the best one, and what came of it.
    """
    no_value = np.full((rows, columns), np.nan, np.float32)
    flags = {n: np.zeros((rows, columns), np.bool_) for n in ("terminated", "truncated", "valid")}
    rewards = np.zeros((rows, columns), np.float32)
    return {"taken": no_value, "best": no_value.copy(), "rewards": rewards, **flags}


def td_errors(rows: Mapping[str, NDArray[Any]], gamma: float, steps: int) -> Floats:
    """|r_t + ... + gamma**n max_a Q(s_t+n, a) - Q(s_t, a_t)| for every t whose n steps are among
    `rows` (of `unknown`'s form [R, B], `best` one row more): [R-n+1, B].

    As in `Replay`, the steps end where the episode does or the next row is no transition. NaN
    where a value is not known.
    """
    count = len(rows["taken"]) - steps + 1
    wanted, discount = np.zeros((2, count, rows["taken"].shape[1]))
    discount += 1.0
    goes_on, final = np.ones_like(wanted, np.bool_), np.zeros_like(wanted, np.bool_)
    value = np.zeros_like(wanted)
    for step in range(steps):
        now, after = slice(step, step + count), slice(step + 1, step + 1 + count)
        wanted += np.where(goes_on, discount * rows["rewards"][now], 0.0)
        discount = np.where(goes_on, discount * gamma, discount)
        value = np.where(goes_on, rows["best"][after], value)
        final |= goes_on & rows["terminated"][now]
        if step + 1 < steps:
            goes_on &= ~rows["terminated"][now] & ~rows["truncated"][now] & rows["valid"][after]
    wanted += np.where(final, 0.0, discount * value)
    found: Floats = np.abs(wanted - rows["taken"][:count]).astype(np.float32)
    return found
