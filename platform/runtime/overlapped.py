"""Two groups of environments: one is stepped, in a thread of its own, while a policy acts for the
other.

It pays where stepping leaves Python's lock alone (most simulators written in C do) and takes about
as long as acting, and where the sampler has a second core for it.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.platform.runtime.interfaces import Arrays, Environments, Record


class Overlapped:
    """See `Environments`: the columns of the first group, then those of the second, which `columns`
    tells apart. Instead of `step`, each group's steps may be begun and waited for.
    """

    def __init__(self, *makers: Callable[[], Environments]) -> None:
        self._groups = [make() for make in makers]
        self.spaces = self._groups[0].spaces
        ends = np.cumsum([group.count for group in self._groups]).tolist()
        self.count: int = ends[-1]
        self.columns = [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]
        self._thread = ThreadPoolExecutor(1, "stepping")
        self._begun: list[Future[None] | None] = [None] * len(ends)

    def __str__(self) -> str:
        return str(self._groups[0])

    @property
    def failures(self) -> int:
        return sum(group.failures for group in self._groups)

    @failures.setter
    def failures(self, count: int) -> None:
        raise AttributeError("counted by the groups")

    def reset(self, observations: NDArray[Any]) -> None:
        for group, columns in zip(self._groups, self.columns, strict=True):
            group.reset(observations[columns])

    def begin(self, group: int, actions: NDArray[Any], *written: NDArray[Any]) -> None:
        """Begin a group's step; the arrays [B, ...] are those of `step`, of all columns, but for
        the group's own actions.
        """
        columns = self.columns[group]
        own: list[Any] = [array[columns] for array in written]
        self._begun[group] = self._thread.submit(self._groups[group].step, actions, *own)

    def wait(self, group: int) -> None:
        """Until the step that was begun is done; raises what it raised."""
        begun, self._begun[group] = self._begun[group], None
        if begun is not None:
            begun.result()

    def step(self, actions: NDArray[Any], *written: NDArray[Any]) -> None:
        for index, columns in enumerate(self.columns):
            self.begin(index, actions[columns], *written)
        for index in range(len(self.columns)):
            self.wait(index)

    def state(self) -> tuple[Record, Arrays]:
        states = [group.state() for group in self._groups]
        arrays = {
            f"{index}.{name}": array
            for index, (_, held) in enumerate(states)
            for name, array in held.items()
        }
        return {"groups": [record for record, _ in states]}, arrays

    def restore(self, record: Record, arrays: Arrays, observations: NDArray[Any]) -> bool:
        goes_on = True
        for index, (group, columns) in enumerate(zip(self._groups, self.columns, strict=True)):
            start = f"{index}."
            held = {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}
            goes_on &= group.restore(record["groups"][index], held, observations[columns])
        return goes_on

    def close(self) -> None:
        self._thread.shutdown()
        for group in self._groups:
            group.close()
