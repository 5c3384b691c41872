"""A policy of its own for each agent of an environment, or one that all of them share.

Columns are ordered environment by environment, agent by agent: agent a of A has columns a, a + A,
a + 2A and so on. Names of a separate policy's arrays begin with the agent's number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from covey.algorithms.learner import Learner, LearnerState
from covey.platform.runtime.fragment import Fragment, Rows, Weights
from covey.platform.runtime.interfaces import ActingPolicy, Arrays

SUMS = ("gradient_steps", "frames", "update_s")
"""Metrics that add up over learners; of all others the mean is told, over those who have learnt."""


class SeparatePolicies:
    """See `ActingPolicy`."""

    def __init__(self, policies: Sequence[ActingPolicy]) -> None:
        self._policies = policies

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        for policy, own in zip(self._policies, split(arrays, len(self._policies)), strict=True):
            policy.load(own)

    def sample(
        self, observations: NDArray[Any], generator: Generator
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        agents = len(self._policies)
        parts = [
            policy.sample(observations[agent::agents], generator)
            for agent, policy in enumerate(self._policies)
        ]
        return woven([actions for actions, _ in parts]), woven([logp for _, logp in parts])

    def best(self, observations: NDArray[Any]) -> NDArray[Any]:
        agents = len(self._policies)
        return woven(
            [policy.best(observations[a::agents]) for a, policy in enumerate(self._policies)]
        )


class SeparateLearners:
    """See `Learner`: each agent's learner sees its agent's columns alone."""

    def __init__(self, learners: Sequence[Learner]) -> None:
        self._learners = learners

    def weights(self) -> Weights:
        weights = [learner.weights() for learner in self._learners]
        return Weights(weights[0].version, joined([one.arrays for one in weights]))

    def update(self, progress: float, *fragments: Fragment) -> dict[str, float]:
        agents = len(self._learners)
        found = [
            learner.update(progress, *(columns_of(one, agent, agents) for one in fragments))
            for agent, learner in enumerate(self._learners)
        ]
        told = {name: [one[name] for one in found if name in one] for one in found for name in one}
        return {
            name: sum(values) if name in SUMS else sum(values) / len(values)
            for name, values in told.items()
        }

    def state(self) -> LearnerState:
        states = [learner.state() for learner in self._learners]
        return LearnerState(
            model=joined([state.model for state in states]),
            optimizer=joined([state.optimizer for state in states]),
            normalizer=joined([state.normalizer for state in states]),
            record={"policies": [state.record for state in states]},
        )

    def restore(self, state: LearnerState) -> None:
        for learner, own in zip(self._learners, states_of(state), strict=True):
            learner.restore(own)


def columns_of(fragment: Fragment, agent: int, agents: int) -> Fragment:
    """Views of one agent's columns."""
    rows = Rows(*(getattr(fragment.rows, f.name)[:, agent::agents] for f in fields(Rows)))
    return replace(fragment, rows=rows)


def woven(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Each agent's rows [E, ...] as rows of all columns [E * A, ...]."""
    stacked = np.stack(parts, axis=1)
    return stacked.reshape(-1, *stacked.shape[2:])


def joined(many: Sequence[Mapping[str, NDArray[Any]]]) -> Arrays:
    """Several policies' arrays under one roof."""
    return {f"{agent}.{name}": a for agent, one in enumerate(many) for name, a in one.items()}


def split(arrays: Mapping[str, NDArray[Any]], agents: int) -> list[Arrays]:
    """The inverse of `joined`."""
    found: list[Arrays] = [{} for _ in range(agents)]
    for name, array in arrays.items():
        agent, _, own = name.partition(".")
        found[int(agent)][own] = array
    return found


def states_of(state: LearnerState) -> list[LearnerState]:
    """Each policy's part of a state of `SeparateLearners`."""
    records = state.record["policies"]
    parts = (split(part, len(records)) for part in (state.model, state.optimizer, state.normalizer))
    return [LearnerState(*own) for own in zip(*parts, records, strict=True)]
