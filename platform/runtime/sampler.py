"""Collects rows: environments and policy in one process, block after block into a stream."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence
from numpy.typing import NDArray

from covey.platform.errors import UserError
from covey.platform.runtime.fragment import Episodes, Rows
from covey.platform.runtime.interfaces import (
    ActingPolicy,
    Arrays,
    Environments,
    RatingPolicy,
    Record,
)
from covey.platform.runtime.overlapped import Overlapped
from covey.platform.runtime.stream_sides import StreamWriter
from covey.platform.runtime.threads import one_blas_thread
from covey.platform.runtime.weights_channel import WeightsReader

_POLICY = "policy."
"""Begins the names of what a policy remembers, among the arrays of a sampler's state."""


class Sampler:
    """The same class inline or as a Ray actor; its action noise has a generator of its own.

    Between `connect` and `sample`, `restore` may say where to go on.
    """

    def __init__(
        self,
        make_environments: Callable[[], Environments],
        make_policy: Callable[[], ActingPolicy],
        seed: SeedSequence,
    ) -> None:
        one_blas_thread()
        self._begin_with(make_environments, make_policy, seed)

    def _begin_with(
        self,
        make_environments: Callable[[], Environments],
        make_policy: Callable[[], ActingPolicy],
        seed: SeedSequence,
    ) -> None:
        self._environments = make_environments()
        self._policy = make_policy()
        self._rater = self._policy if isinstance(self._policy, RatingPolicy) else None
        self._generator = Generator(PCG64(seed))
        self._version = -1
        self._running = False
        self._start: NDArray[Any] | None = None
        self._goes_on = False
        self._so_far = np.zeros(self._environments.count)
        self._length = np.zeros(self._environments.count, dtype=np.int64)
        self._ended: list[tuple[float, int]] = []

    def connect(self, ends: Callable[[], tuple[StreamWriter, WeightsReader]]) -> None:
        """Open this process's ends of the channels."""
        self._stream, self._weights = ends()
        self._stream.heartbeat_s = time.monotonic()
        self._failures_before = self._stream.failures  # of samplers whose place this one takes

    def remake(
        self,
        make_environments: Callable[[], Environments],
        make_policy: Callable[[], ActingPolicy],
        seed: SeedSequence,
    ) -> None:
        """Begin anew with other environments, in the same process; `connect` comes next."""
        self.close()
        self._begin_with(make_environments, make_policy, seed)

    def ready(self) -> None:
        """Nothing: once it is answered, the process is there and the environments are made."""

    def run(self) -> tuple[Record, Arrays]:
        """Sample whenever that is permitted, until the stream says to stop; `state` then."""
        while not self._stream.stop:
            if not self.sample():
                self._stream.heartbeat_s = time.monotonic()
                time.sleep(self._stream.patience_s)
        return self.state()

    def sample(self) -> bool:
        """The next block with the newest weights; False when there is no room or no permission.

        UserError when what the environments show or the policy does is not a finite number.
        """
        rows = self._stream.begin()
        if rows is None:
            return False
        began = time.monotonic()
        self._take_newest_weights()
        first = self._begin(rows)
        self._collect(rows, first)
        self._check_finite(rows)
        if self._rater is not None:
            self._rater.rate(rows, first)
        self._stream.failures = self._failures_before + self._environments.failures
        self._stream.commit(self._episodes(), self._version, time.monotonic() - began)
        return True

    def _take_newest_weights(self) -> None:
        weights = self._weights.read(newer_than=self._version)
        if weights is not None:
            self._policy.load(weights.arrays)
            self._version = weights.version

    def _begin(self, rows: Rows) -> int:
        """Have a row show what acts first; returns which."""
        if self._running:
            return 0
        self._running = True
        # Else the row before, written by another sampler or another attempt, leads to row 0: the
        # new episodes begin behind it.
        first = 0 if self._stream.fresh or self._goes_on else 1
        if self._start is None:
            self._environments.reset(rows.observations[first])
        else:
            rows.observations[first] = self._start
        if first:
            self._skip(rows)
        return first

    def _collect(self, rows: Rows, first: int) -> None:
        if isinstance(self._environments, Overlapped):
            self._collect_in_turns(rows, first, self._environments)
            return
        environments, policy, generator = self._environments, self._policy, self._generator
        for t in range(first, rows.steps):
            actions, rows.logp[t] = policy.sample(rows.observations[t], generator)
            rows.actions[t] = actions
            self._stream.heartbeat_s = time.monotonic()
            environments.step(actions, *rows.outcome(t))
            self._count(rows, t)

    def _collect_in_turns(self, rows: Rows, first: int, environments: Overlapped) -> None:
        """Act for a group while the one before it is stepped."""
        groups = list(enumerate(environments.columns))
        for t in range(first, rows.steps):
            for group, columns in groups:
                environments.wait(group)
                actions, rows.logp[t, columns] = self._policy.sample(
                    rows.observations[t, columns], self._generator
                )
                rows.actions[t, columns] = actions
                self._stream.heartbeat_s = time.monotonic()
                environments.begin(group, actions, *rows.outcome(t))
        for group, _ in groups:
            environments.wait(group)
        for t in range(first, rows.steps):
            self._count(rows, t)

    @staticmethod
    def _skip(rows: Rows) -> None:
        """Make the first row one that is no transition anywhere."""
        flags = (rows.terminated, rows.truncated, rows.valid)
        for array in (rows.actions, rows.logp, rows.rewards, *flags):
            array[0] = 0

    def _count(self, rows: Rows, t: int) -> None:
        """Carry on returns and lengths; note the episodes that ended in row t."""
        self._so_far += rows.rewards[t]
        self._length += rows.valid[t]
        ended = rows.terminated[t] | rows.truncated[t]
        if ended.any():
            self._ended += zip(
                self._so_far[ended].tolist(), self._length[ended].tolist(), strict=True
            )
        over = ended | ~rows.valid[t]  # a failed environment's episode ends without a flag
        self._so_far[over] = 0.0
        self._length[over] = 0

    def _episodes(self) -> Episodes:
        ended, self._ended = self._ended, []
        return Episodes(
            np.array([returned for returned, _ in ended], dtype=np.float64),
            np.array([length for _, length in ended], dtype=np.int64),
        )

    def _check_finite(self, rows: Rows) -> None:
        for what, array in (
            ("observation", rows.observations),
            ("reward", rows.rewards),
            ("log-probability of an action (the policy's weights diverged)", rows.logp),
        ):
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise UserError(f"{self._environments}: a {what} is not a finite number")

    def state(self) -> tuple[Record, Arrays]:
        """All that the following blocks depend on, besides weights and stream."""
        record, arrays = self._environments.state()
        if self._rater is not None:
            arrays = arrays | {_POLICY + n: a for n, a in self._rater.remembered().items()}
        return {
            "generator": self._generator.bit_generator.state,
            "environments": record,
            "return_so_far": self._so_far.tolist(),
            "length_so_far": self._length.tolist(),
        }, arrays

    def restore(self, record: Record, arrays: Arrays) -> None:
        """Go on from `state`; where the environments cannot, with new episodes."""
        self._generator.bit_generator.state = record["generator"]
        seen = self._environments.spaces.observation
        current: NDArray[Any] = np.zeros((self._environments.count, *seen.shape), dtype=seen.dtype)
        self._goes_on = self._environments.restore(record["environments"], arrays, current)
        self._start = current
        if self._goes_on:
            self._so_far[:] = record["return_so_far"]
            self._length[:] = record["length_so_far"]
            if self._rater is not None:
                own = {n: a for n, a in arrays.items() if n.startswith(_POLICY)}
                self._rater.remember({n.removeprefix(_POLICY): a for n, a in own.items()})

    def close(self) -> None:
        """Close the environments."""
        self._environments.close()
