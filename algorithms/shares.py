"""A minibatch shared among Python threads, each with torch threads of its own."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

S = TypeVar("S")
T = TypeVar("T")
SHARE_ROWS = 1024
"""A thread of its own is worth it from so many rows on."""


class Shares(Generic[S]):
    """What `make` made of each thread's part [first, last) of `rows`.

    A large minibatch is shared among `threads` Python threads, each with one torch thread: they
    meet twice a step, where torch's own threads meet at every product. In a small one they would
    wait for Python's lock longer than that: there torch's threads share the products. The number
    of threads has a part in the last bits of the result.
    """

    def __init__(self, rows: slice, threads: int, make: Callable[[int, int], S]) -> None:
        size = rows.stop - rows.start
        count = min(threads, max(1, size // SHARE_ROWS))
        self._threads = max(1, threads // count)
        cuts = [rows.start + size * k // count for k in range(count + 1)]
        self._shares = [make(first, last) for first, last in pairwise(cuts)]
        self._pool = ThreadPoolExecutor(
            max(1, count - 1),
            "share",
            initializer=torch.set_num_threads,
            initargs=(self._threads,),
        )

    def begin(self) -> None:
        """Before each step, in the thread that makes it: others of its process set their own."""
        torch.set_num_threads(self._threads)

    def beside(self, work: Callable[[], Any]) -> "Future[Any]":
        """Have it done while this thread does something else."""
        return self._pool.submit(work)

    def each(self, work: Callable[[S], T]) -> list[T]:
        """The results of all threads, in their order."""
        others = [self._pool.submit(work, share) for share in self._shares[1:]]
        return [work(self._shares[0]), *(other.result() for other in others)]

    def summed(self, gradient: Callable[[S], Tensor]) -> NDArray[np.float32]:
        """The sum of all shares' gradients, in the place of the first one's."""
        first, *others = [gradient(share).numpy() for share in self._shares]
        for other in others:
            first += other
        whole: NDArray[np.float32] = first
        return whole
