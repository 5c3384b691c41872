"""One sampler of a job, as `samplers.py` sees it: whoever has its number at the moment."""

import time
from dataclasses import dataclass

from covey.algorithms.sampler_maker import SamplerMaker
from covey.algorithms.saved import SamplerState
from covey.platform.runtime.crew import Crew, Pending, Worker
from covey.platform.runtime.stream import Stream
from covey.platform.runtime.weights_channel import SharedWeights

START_S = 120.0
"""A new sampler is not thought to hang before so long: importing what it needs takes a while."""
COMES_S = 10.0
"""So long a checkpoint waits for a sampler that has just taken another's place."""


@dataclass
class Member:
    """A sampler, its stream, and its endless call. `lives` counts those before it, `fruitless`
    those in a row that wrote nothing; `connected` is answered once it has begun; `state` is where
    it stands while it is halted. `worker` is None while there is none of this number.
    """

    index: int
    stream: Stream
    worker: Worker | None
    lives: int
    running: Pending | None = None
    connected: Pending | None = None
    state: SamplerState | None = None
    fruitless: int = 0
    blocks: int = 0

    def connect(self, maker: SamplerMaker, weights: SharedWeights) -> None:
        """Have it open its ends of the channels."""
        assert self.worker is not None
        self.connected = maker.connect(self.worker, self.index, self.lives, weights)

    def run(self) -> None:
        """Have it write blocks, if there is one."""
        self.running = None if self.worker is None else self.worker.submit("run")

    def has_begun(self, crew: Crew) -> bool:
        """Whether it is connected."""
        return self.connected is None or crew.is_ready(self.connected)

    def comes(self, crew: Crew) -> bool:
        """The same, a little later if need be."""
        if self.connected is not None:
            crew.wait([self.connected], COMES_S)
        return self.has_begun(crew)

    def hangs(self, crew: Crew, limit_s: float) -> float:
        """For how many seconds it has given no sign, if that is more than the limit; else 0."""
        silent_s = time.monotonic() - self.stream.heartbeat_s
        patience_s = limit_s if self.has_begun(crew) else max(limit_s, START_S)
        return silent_s if silent_s > patience_s else 0.0

    def count_fruitless(self) -> None:
        """It was lost: see whether it wrote anything."""
        written = self.stream.blocks_written
        self.fruitless = self.fruitless + 1 if written == self.blocks else 0
        self.blocks = written

    def begin_another(self, maker: SamplerMaker, weights: SharedWeights) -> None:
        """Start a sampler in its place, or for the first time."""
        self.lives += 1
        self.stream.heartbeat_s = time.monotonic()
        self.worker = maker.spawn(self.index, self.lives)
        self.connect(maker, weights)
        self.running = None
        if not self.stream.stop:
            self.run()

    def leave(self) -> None:
        """There is none of this number from now on."""
        self.stream.absent = True
        self.worker = self.running = self.connected = self.state = None
