"""The critics that another process updates, as the actor's process sees them."""

import numpy as np
from numpy.typing import NDArray

from covey.algorithms.flat_mlp import whole
from covey.algorithms.fused_adam import FusedAdam
from covey.algorithms.sac import SACConfig
from covey.algorithms.sac_board import COLUMNS, MOMENTS, Board, BoardSpec
from covey.algorithms.sac_chunks import Data
from covey.algorithms.sac_critics import CriticSums
from covey.algorithms.sac_critics_worker import ANSWER, END, ORDER, STEP, CriticsWorker
from covey.algorithms.sac_networks import CriticNetworks
from covey.platform.runtime.crew import Crew, WorkerLost
from covey.platform.runtime.fence import fence
from covey.platform.runtime.pipe import Pipe
from covey.platform.runtime.pulse import Pulse

LOOK_S = 0.25
"""So often it is looked whether the other process is still alive, while it is waited for."""


class CriticsAway:
    """Starts the other process as a worker of `crew`, and waits until it is there. One step at a
    time: `begin`, then `end`.

    `data` is where minibatches are gathered in this process, and where errors are written.
    """

    def __init__(
        self, crew: Crew, config: SACConfig, threads: int, spec: BoardSpec, data: Data
    ) -> None:
        self._crew, self._board = crew, Board.create(spec)
        self._orders, self._answers = Pipe.create(ORDER), Pipe.create(ANSWER)
        arrays = self._board.arrays
        inputs = {name: whole(getattr(data, name)).numpy() for name in ("inputs", "next_inputs")}
        columns = {name: getattr(data, name) for name in COLUMNS if name != "errors"}
        self._sent = [(arrays[name], own) for name, own in (inputs | columns).items()]
        self._errors = data.errors
        self._pulse = Pulse("critic")
        worker = self._pulse.spawn(crew, CriticsWorker, config, threads)
        ends = self._board.handle, self._orders.handle, self._answers.handle
        crew.fetch([worker.submit("connect", *ends)])
        self._running = worker.submit("run")

    def begin(self, alpha: float) -> None:
        """Have a step made on a copy of the minibatch."""
        for there, own in self._sent:
            np.copyto(there, own)
        fence()
        self._orders.send(STEP, alpha)

    def end(self, critic_vector: NDArray[np.float32]) -> CriticSums:
        """Wait until the step is made; the rows' errors and the critics are copied. WorkerLost if
        the process died or hangs.
        """
        while (answer := self._answers.receive(LOOK_S)) is None:
            if self._crew.is_ready(self._running):
                self._crew.fetch([self._running])
                raise WorkerLost("critic ended unasked")
            self._pulse.check()
        fence()
        np.copyto(self._errors, self._board.arrays["errors"])
        np.copyto(critic_vector, self._board.arrays["critics"])
        return CriticSums(*answer)

    def give(self, networks: CriticNetworks, optimizer: FusedAdam) -> None:
        """Have it go on from these, between two steps."""
        vectors = {"critics": networks.critic_vector, "targets": networks.target_vector}
        own = {name: vector.numpy() for name, vector in vectors.items()} | optimizer.state()
        for name, array in own.items():
            np.copyto(self._board.arrays[name], array)

    def take(self, networks: CriticNetworks, optimizer: FusedAdam) -> None:
        """Copy where it stands, between two steps."""
        arrays = self._board.arrays
        np.copyto(networks.critic_vector.numpy(), arrays["critics"])
        np.copyto(networks.target_vector.numpy(), arrays["targets"])
        optimizer.restore({name: arrays[name] for name in MOMENTS})

    def close(self) -> None:
        """Tell the process to end; let go of the channels."""
        self._orders.send(END, 0.0)
        self._orders.close()
        self._answers.close()
        self._board.close()
