"""Steps an environment with actions drawn beforehand: what no sampler in one process can exceed.

Settings: `env`, and `batched`, how many at once in the environment's own batched form (0: a plain
loop over one environment). Steps are transitions: a reset, automatic or not, is none.
"""

from typing import Any

import numpy as np
from environments import make_batched, make_env
from serve import Measure, Settings, repeated, serve

DRAWN = 512


def plain(env_id: str) -> Measure:
    """One environment in a loop."""
    env = make_env(env_id)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(DRAWN)]
    env.reset(seed=0)

    def some_steps() -> float:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return float(DRAWN)

    return repeated(some_steps)


def batched(env_id: str, count: int) -> Measure:
    """`count` environments in their own batched form, which resets in the step after an end."""
    env = make_batched(env_id, count)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(16)]
    env.reset(seed=0)
    ended: Any = np.zeros(count, dtype=np.bool_)

    def some_steps() -> float:
        nonlocal ended
        counted = 0
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            counted += count - int(np.count_nonzero(ended))
            ended = terminated | truncated
        return float(counted)

    return repeated(some_steps)


def prepare(settings: Settings) -> dict[str, Measure]:
    count = settings["batched"]
    return {"steps": batched(settings["env"], count) if count else plain(settings["env"])}


if __name__ == "__main__":
    serve(prepare)
