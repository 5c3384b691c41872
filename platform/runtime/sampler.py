"""Collects rollout fragments: environments and policy in one process, one call a fragment."""

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence
from numpy.typing import NDArray

from covey.platform.errors import UserError
from covey.platform.runtime.fragment import Episodes, Fragment, Weights
from covey.platform.runtime.interfaces import ActingPolicy, Arrays, Environments, Record
from covey.platform.runtime.threads import one_blas_thread


class Sampler:
    """The same class inline or as a Ray actor; its action noise has a generator of its own."""

    def __init__(
        self,
        make_environments: Callable[[], Environments],
        make_policy: Callable[[], ActingPolicy],
        steps: int,
        seed: SeedSequence,
    ) -> None:
        one_blas_thread()
        self._environments = make_environments()
        self._policy = make_policy()
        self._generator = Generator(PCG64(seed))
        self._fragment = Fragment.allocate(
            steps, self._environments.count, self._environments.spaces
        )
        self._rewards = np.empty((steps, self._environments.count))
        self._return_so_far = np.zeros(self._environments.count)
        self._length_so_far = np.zeros(self._environments.count, dtype=np.int64)
        self._version = -1
        self._running = False

    def sample(self, weights: Weights) -> Fragment:
        """The next T x B steps with these weights. UserError when an environment misbehaves."""
        began = perf_counter()
        if weights.version != self._version:
            self._policy.load(weights.arrays)
            self._version = weights.version
        rows = self._fragment.observations
        if self._running:
            rows[0] = rows[-1]
        else:
            self._environments.reset(rows[0])
            self._running = True
        finals = self._collect()
        self._check_finite()
        self._fragment.rewards[...] = self._rewards
        self._fragment = replace(
            self._fragment,
            final_steps=np.array([step for step, _ in finals], dtype=np.int64),
            final_observations=np.array([final for _, final in finals], dtype=rows.dtype).reshape(
                len(finals), *rows.shape[2:]
            ),
            episodes=self._ended_episodes(),
            version=weights.version,
            sample_s=perf_counter() - began,
        )
        return self._fragment

    def _collect(self) -> list[tuple[int, NDArray[Any]]]:
        environments, policy, generator = self._environments, self._policy, self._generator
        fragment, count = self._fragment, self._environments.count
        finals: list[tuple[int, NDArray[Any]]] = []
        for t in range(len(fragment.logp)):
            actions, fragment.logp[t] = policy.sample(fragment.observations[t], generator)
            fragment.actions[t] = actions
            environments.step(
                actions,
                fragment.observations[t + 1],
                self._rewards[t],
                fragment.terminated[t],
                fragment.truncated[t],
            )
            if environments.finals:
                finals.extend((t * count + b, final) for b, final in environments.finals)
        return finals

    def _check_finite(self) -> None:
        for what, array in (
            ("observation", self._fragment.observations),
            ("reward", self._rewards),
            ("log-probability of an action (the policy's weights diverged)", self._fragment.logp),
        ):
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise UserError(f"{self._environments}: a {what} is not a finite number")

    def _ended_episodes(self) -> Episodes:
        """Raw returns and lengths of the episodes that ended in the fragment; carries on the
        others'.
        """
        returns: list[float] = []
        lengths: list[int] = []
        start = np.zeros(self._environments.count, dtype=np.int64)
        ended = self._fragment.terminated | self._fragment.truncated
        for t, b in np.argwhere(ended):
            returns.append(self._return_so_far[b] + self._rewards[start[b] : t + 1, b].sum())
            lengths.append(int(self._length_so_far[b] + t + 1 - start[b]))
            self._return_so_far[b], self._length_so_far[b], start[b] = 0.0, 0, t + 1
        for b, first in enumerate(start):
            self._return_so_far[b] += self._rewards[first:, b].sum()
            self._length_so_far[b] += len(ended) - first
        return Episodes(np.array(returns, dtype=np.float64), np.array(lengths, dtype=np.int64))

    def state(self) -> tuple[Record, Arrays]:
        """All that the following fragments depend on, besides the weights."""
        record, arrays = self._environments.state()
        return {
            "generator": self._generator.bit_generator.state,
            "environments": record,
            "return_so_far": self._return_so_far.tolist(),
            "length_so_far": self._length_so_far.tolist(),
        }, arrays

    def restore(self, record: Record, arrays: Arrays) -> None:
        """Go on from `state`; where the environments cannot, with new episodes. Call before
        `sample`.
        """
        self._generator.bit_generator.state = record["generator"]
        self._running = True
        row = self._fragment.observations[-1]
        if self._environments.restore(record["environments"], arrays, row):
            self._return_so_far[:] = record["return_so_far"]
            self._length_so_far[:] = record["length_so_far"]

    def close(self) -> None:
        """Close the environments."""
        self._environments.close()
