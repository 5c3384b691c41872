"""Steps environments of any form with arrays for what they write."""

import json

import numpy as np
import pytest


class Stepper:
    """Environments, and the newest row of them."""

    def __init__(self, envs):
        self.envs = envs
        count, seen = envs.count, envs.spaces.observation
        self.observations = np.zeros((count, *seen.shape), dtype=seen.dtype)
        # Nothing may be left of what was there before.
        self.rewards = np.full(count, 9, dtype=np.float32)
        self.terminated, self.truncated, self.valid = np.ones((3, count), dtype=bool)

    def reset(self):
        self.envs.reset(self.observations)
        return self

    def step(self, actions):
        """A row; the observations are always written into a new array, as in a ring."""
        self.observations = np.full_like(self.observations, 99)
        self.envs.step(
            np.asarray(actions),
            self.observations,
            self.rewards,
            self.terminated,
            self.truncated,
            self.valid,
        )

    def seen(self):
        return self.observations.ravel().tolist()

    def saved_into(self, envs):
        """The same state in other environments, through a checkpoint's JSON."""
        record, arrays = self.envs.state()
        resumed = Stepper(envs)
        assert envs.restore(json.loads(json.dumps(record)), arrays, resumed.observations)
        np.testing.assert_array_equal(resumed.observations, self.observations)
        return resumed

    def go_on_as(self, other, actions):
        """A row of both, which must come out alike."""
        self.step(actions)
        other.step(actions)
        for name in ("observations", "rewards", "terminated", "truncated", "valid"):
            np.testing.assert_array_equal(getattr(self, name), getattr(other, name), name)


@pytest.fixture
def stepper():
    """Begin with environments: `stepper(envs)` has reset them."""
    return lambda envs: Stepper(envs).reset()
