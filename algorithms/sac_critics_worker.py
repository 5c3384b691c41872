"""The process that updates SAC's critics, for an actor in another one (Spreeze, arXiv 2312.06126:
the two on devices of their own).
"""

import numpy as np

from covey.algorithms.fused_adam import FusedAdam, average
from covey.algorithms.sac import SACConfig
from covey.algorithms.sac_board import MOMENTS, BoardHandle
from covey.algorithms.sac_chunks import Rooms
from covey.algorithms.sac_critics import CriticShare, CriticSums
from covey.algorithms.shares import Shares
from covey.platform.runtime.fence import fence
from covey.platform.runtime.memory import keep_freed_memory
from covey.platform.runtime.pipe import Pipe, PipeHandle
from covey.platform.runtime.threads import one_blas_thread

ORDER = "<id"
"""One of the two below, and the temperature."""
END, STEP = range(2)
ANSWER = "<dd"
"""`CriticSums` of a step."""
WAIT_S = 1.0


class CriticsWorker:
    """Makes a gradient step on the critics that lie on a board whenever it is told to."""

    def __init__(self, config: SACConfig, threads: int) -> None:
        one_blas_thread()
        keep_freed_memory()
        self._config, self._threads = config, threads

    def connect(self, board: BoardHandle, orders: PipeHandle, answers: PipeHandle) -> None:
        """Open this process's ends of the channels."""
        size = self._config.batch_size
        self._board = board.attach()
        self._orders: Pipe = orders.attach()
        self._answers: Pipe = answers.attach()
        self._networks = networks = self._board.networks()
        data, moments = self._board.data(), {name: self._board.arrays[name] for name in MOMENTS}
        self._optimizer = FusedAdam(networks.critic_vector.numpy(), moments=moments)

        def share(first: int, last: int) -> CriticShare:
            return CriticShare(networks, data.rows(first, last), size, Rooms(networks))

        self._shares = Shares(slice(0, size), self._threads, share)

    def run(self) -> None:
        """Follow orders until told to end."""
        self._shares.begin()
        while True:
            order = self._orders.receive(WAIT_S)
            if order is None:
                continue
            what, alpha = order
            if what == END:
                return
            fence()
            sums = self._step(alpha)
            fence()
            self._answers.send(*sums)

    def _step(self, alpha: float) -> CriticSums:
        sums = self._shares.each(lambda share: share.step(alpha))
        gradient = self._shares.summed(lambda share: share.gradient)
        self._optimizer.step(gradient, self._config.learning_rate)
        networks, tau = self._networks, np.float32(self._config.tau)
        average(networks.target_vector.numpy(), networks.critic_vector.numpy(), tau)
        return CriticSums(*map(sum, zip(*sums, strict=True)))
