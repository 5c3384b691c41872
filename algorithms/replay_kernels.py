"""The compiled loops of `replay.py`, on flat views of one stream's ring.

A slot is a row of the ring and a column: slot = (row % ring) * columns + column. Observations are
[(ring + 1) * columns, S], so the one after a slot is `columns` further, at the ring's end too.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.algorithms.compiled import compiled

Indices = NDArray[np.int64]
Bools = NDArray[np.bool_]


@compiled
def choose(
    picks: NDArray[np.float64],
    first_pick: int,
    transitions: int,
    first_slot: int,
    valid: Bools,
    offset: int,
    chosen: Indices,
    filled: int,
) -> int:
    """Of the picks in [first_pick, first_pick + transitions), append the slots that are valid to
    `chosen` (plus `offset`); returns how many it then holds. Pick `first_pick` is `first_slot`.
    """
    for i in range(picks.size):
        pick = int(picks[i]) - first_pick
        if pick < 0 or pick >= transitions:
            continue
        slot = first_slot + pick
        if slot >= valid.size:  # a division would take longer than the rest
            slot -= valid.size
        if valid[slot]:
            chosen[filled] = slot + offset
            filled += 1
    return filled


@compiled
def touch(
    slots: Indices,
    offset: int,
    columns: int,
    observations: NDArray[Any],
    actions: NDArray[Any],
    rewards: NDArray[np.float32],
    terminated: Bools,
    truncated: Bools,
    valid: Bools,
) -> float:
    """Bring into the cache what `gather` will read first: in a loop without anything else to do
    a core waits for many reads at once. What it returns is of no use.
    """
    total = 0.0
    last = observations.shape[1] - 1
    for i in range(slots.size):
        slot = slots[i] - offset
        if slot < 0 or slot >= valid.size:
            continue
        after = slot + columns
        total += observations[slot, 0] + observations[slot, last] + rewards[slot]
        total += observations[after, 0] + observations[after, last] + actions[slot, 0]
        total += terminated[slot]
    return total


@compiled
def gather(
    slots: Indices,
    offset: int,
    columns: int,
    steps: int,
    gamma: float,
    observations: NDArray[Any],
    actions: NDArray[Any],
    rewards: NDArray[np.float32],
    terminated: Bools,
    truncated: Bools,
    valid: Bools,
    out_observations: NDArray[Any],
    out_actions: NDArray[Any],
    out_rewards: NDArray[np.float32],
    out_discounts: NDArray[np.float32],
    out_next_observations: NDArray[Any],
) -> None:
    """Write the transitions of those slots that are of this ring, each at its place.

    The reward is that of up to `steps` steps, discounted; they end where the episode does, and
    `out_discounts` is what the value of the observation after the last one counts.
    """
    for i in range(slots.size):
        slot = slots[i] - offset
        if slot < 0 or slot >= valid.size:
            continue
        last, reward, discount = slot, 0.0, 1.0
        for step in range(steps):
            reward += discount * rewards[last]
            discount *= gamma
            if step + 1 == steps or terminated[last] or truncated[last]:
                break
            following = last + columns
            if following >= valid.size:
                following -= valid.size
            if not valid[following]:
                break
            last = following
        out_rewards[i] = reward
        out_discounts[i] = 0.0 if terminated[last] else discount
        after = last + columns
        for k in range(observations.shape[1]):
            out_observations[i, k] = observations[slot, k]
        for k in range(observations.shape[1]):
            out_next_observations[i, k] = observations[after, k]
        for k in range(actions.shape[1]):
            out_actions[i, k] = actions[slot, k]
