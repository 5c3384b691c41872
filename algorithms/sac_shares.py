"""SAC's gradients over a learner's rows of each minibatch, by several threads.

A large minibatch is shared among Python threads, each with one torch thread: they meet twice a
step, where torch's own threads meet at every product. In a small one they would wait for Python's
lock longer than that: there torch's threads share the products. The number of threads has a part in
the last bits of the result.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

from covey.algorithms.sac_update import ActorSums, CriticSums, Data, Networks, Share

T = TypeVar("T")
ROWS = 1024
"""A thread of its own is worth it from so many rows on."""


class Shares:
    """`data` are the learner's rows, of a minibatch of `batch_size`. Whoever calls lets torch have
    `torch_threads` of its `threads`.
    """

    def __init__(self, networks: Networks, data: Data, batch_size: int, threads: int) -> None:
        size = len(data.inputs)
        count = min(threads, max(1, size // ROWS))
        self.torch_threads = max(1, threads // count)
        cuts = [size * k // count for k in range(count + 1)]
        self._shares = [
            Share(networks, data.rows(first, last), batch_size) for first, last in pairwise(cuts)
        ]
        self._pool = ThreadPoolExecutor(
            max(1, count - 1),
            "share",
            initializer=torch.set_num_threads,
            initargs=(self.torch_threads,),
        )

    def meanwhile(self, work: Callable[[], None]) -> Future[None]:
        """Have something done by a thread that has no share yet."""
        return self._pool.submit(work)

    def critic_step(self, alpha: float) -> tuple[Tensor, CriticSums]:
        """The gradient, and the sums over all rows."""
        sums = self._each(lambda share: share.critic_step(alpha))
        gradient = summed([share.critic_gradient for share in self._shares])
        return gradient, CriticSums(*map(sum, zip(*sums, strict=True)))

    def actor_step(self, alpha: float) -> tuple[Tensor, ActorSums]:
        """The same of the actor."""
        sums = self._each(lambda share: share.actor_step(alpha))
        gradient = summed([share.actor_gradient for share in self._shares])
        return gradient, ActorSums(*map(sum, zip(*sums, strict=True)))

    def _each(self, work: Callable[[Share], T]) -> list[T]:
        """The results of all threads, in their order."""
        others = [self._pool.submit(work, share) for share in self._shares[1:]]
        return [work(self._shares[0]), *(other.result() for other in others)]


def summed(gradients: Sequence[Tensor]) -> Tensor:
    """In the first one's memory."""
    for other in gradients[1:]:
        gradients[0].add_(other)
    return gradients[0]
