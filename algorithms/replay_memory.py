"""A learner's hold on its replay: made when the streams are there, saved with the learner."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from numpy.random import PCG64, Generator
from numpy.typing import NDArray

from covey.algorithms.learner import ReplayLearner
from covey.algorithms.prioritized_replay import PrioritizedReplay
from covey.algorithms.replay import Replay
from covey.algorithms.replay_config import ReplayConfig
from covey.algorithms.replay_source import Stream
from covey.algorithms.shard_seats import Shards
from covey.algorithms.sharded_replay import ShardedReplay
from covey.platform.runtime.interfaces import Arrays, Record
from covey.platform.runtime.stream import Stream as SharedStream
from covey.platform.seeds import derive

PREFIX = "replay."


class Memory:
    """`open` the replay over some streams; it goes on from where the last one, or a saved one,
    stood.
    """

    def __init__(self, config: ReplayConfig, root_seed: int) -> None:
        self._config, self._root_seed = config, root_seed
        self._replay: Replay | None = None
        self._saved: tuple[Record, Mapping[str, NDArray[Any]]] | None = None
        self._shards: Shards | None = None

    def share(self, shards: Shards) -> None:
        """Have processes of their own keep the replays opened from now on."""
        self._shards = shards

    def open(self, streams: Sequence[Stream], archives: Sequence[Stream]) -> Replay:
        """A replay over these streams; see `Replay.restore` for which ones can follow which."""
        saved = self._saved
        if self._replay is not None:
            saved = self._replay.state()
            self._replay.close()
        replay = self._make(streams, archives)
        if saved is not None:
            replay.restore(*saved)
        self._replay, self._saved = replay, None
        return replay

    def _make(self, streams: Sequence[Stream], archives: Sequence[Stream]) -> Replay:
        config = self._config
        generator = Generator(PCG64(derive(self._root_seed, "replay")))
        size, gamma, steps = config.buffer_size, config.gamma, config.n_step
        if self._shards is not None:
            return ShardedReplay(
                cast("Sequence[SharedStream]", streams),
                cast("Sequence[SharedStream]", archives),
                size,
                generator,
                self._shards,
                batch_size=config.batch_size,
                gamma=gamma,
                steps=steps,
                alpha=config.priority_alpha if config.prioritized else 0.0,
                beta=config.priority_beta,
            )
        if not config.prioritized:
            return Replay(streams, archives, size, generator, gamma=gamma, steps=steps)
        return PrioritizedReplay(
            streams,
            archives,
            size,
            generator,
            gamma=gamma,
            steps=steps,
            alpha=config.priority_alpha,
            beta=config.priority_beta,
        )

    def set_progress(self, fraction: float) -> None:
        """How much of the training is over, in [0, 1]."""
        if self._replay is not None:
            self._replay.set_progress(fraction)

    def state(self) -> tuple[Record | None, Arrays]:
        """For `restore`; the record is None when there was no replay yet."""
        saved = self._saved if self._replay is None else self._replay.state()
        if saved is None:
            return None, {}
        record, arrays = saved
        return record, {PREFIX + name: array for name, array in arrays.items()}

    def restore(self, record: Record | None, arrays: Mapping[str, NDArray[Any]]) -> None:
        """What the next `open` goes on from; of `arrays`, only those of `state` are taken."""
        self._replay = None
        own = {k.removeprefix(PREFIX): v for k, v in arrays.items() if k.startswith(PREFIX)}
        self._saved = None if record is None else (record, own)


class RememberingLearner(ReplayLearner, Protocol):
    """A learner together with its replay."""

    memory: Memory
