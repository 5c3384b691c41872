"""The processes of a distributed replay, as the learner sees them: who sits where, with which
streams, and who takes a dead one's place.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from covey.algorithms.replay_shard import ReplayShard, ShardPlan
from covey.algorithms.replay_source import Source
from covey.algorithms.shard_channel import ShardChannel
from covey.algorithms.shard_spec import ChannelSpec
from covey.platform.runtime.crew import Crew, Pending, Worker, WorkerLost
from covey.platform.runtime.interfaces import Arrays, Record
from covey.platform.runtime.pulse import Pulse
from covey.platform.runtime.stream import Stream
from covey.platform.seeds import derive

STARTS = 3
"""So many deaths of one shard in a row before it has begun are put up with."""
LOOK_S = 0.25
"""So often the learner looks for shards that died."""
WAIT_S = 5e-5
CHUNKS_A_BATCH = 4


@dataclass(frozen=True)
class Shards:
    """How many there are, whose workers they are, and who hears of those that are replaced."""

    count: int
    crew: Crew
    note: Callable[[str, str], None]
    root_seed: int


@dataclass(frozen=True)
class Settings:
    """Of the replay as a whole; see `PrioritizedReplay`."""

    capacity: int
    batch_size: int
    gamma: float
    steps: int
    alpha: float


@dataclass
class Seat:
    """A shard's place: its sources by their numbers among all, of which the first `live` are
    samplers' streams; whoever is there, and the channel to them.
    """

    sources: tuple[int, ...]
    live: int
    channel: ShardChannel | None = None
    worker: Worker | None = None
    running: Pending | None = None
    pulse: Pulse | None = None
    lives: int = 0
    fruitless: int = 0
    saved: tuple[Record, Arrays] | None = None
    """Where the first one goes on; the others have what samplers wrote."""
    given: tuple[int, int] = field(default=(0, 0))
    """Its part of the last minibatch."""


class ShardSeats:
    """All of them: source j belongs to shard j modulo their number. The first `live` sources are
    samplers' streams, of which no shard has none.
    """

    def __init__(
        self,
        shards: Shards,
        settings: Settings,
        streams: Sequence[Stream],
        sources: Sequence[Source],
        live: int,
    ) -> None:
        self._shards, self._settings = shards, settings
        self._streams, self._sources, self._live = streams, sources, live
        self._looked_s = -LOOK_S
        count = min(shards.count, live)
        shares = [tuple(range(index, len(sources), count)) for index in range(count)]
        self.all = [Seat(own, sum(number < live for number in own)) for own in shares]

    @property
    def there(self) -> list[tuple[Seat, ShardChannel]]:
        """Those who have begun, with their channels."""
        held = [(seat, seat.channel) for seat in self.all if seat.channel is not None]
        return [(seat, channel) for seat, channel in held if channel.has_started]

    def heal(self) -> None:
        """Start those that are not there, and others in the place of those that died or hang; call
        it as often as you like. WorkerLost where they die again and again.
        """
        if time.monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = time.monotonic()
        for index, seat in enumerate(self.all):
            if seat.running is None:
                self._start(index, seat)
            elif (lost := self._lost(seat)) is not None:
                self._replace(index, seat, lost)

    def wait(self, seat: Seat, until: Callable[[], bool]) -> bool:
        """For something that the shard does; False if it has died or hangs."""
        looked_s = time.monotonic()
        while not until():
            if time.monotonic() - looked_s > LOOK_S:
                looked_s = time.monotonic()
                if self._lost(seat) is not None:
                    return False
            time.sleep(WAIT_S)
        return True

    def _lost(self, seat: Seat) -> WorkerLost | None:
        """Why there is no shard in a seat any more."""
        assert seat.running is not None and seat.pulse is not None
        try:
            seat.pulse.check()
            if self._shards.crew.is_ready(seat.running):
                self._shards.crew.fetch([seat.running])
                raise AssertionError("a shard ended unasked")
        except WorkerLost as error:
            return error
        return None

    def _replace(self, index: int, seat: Seat, lost: WorkerLost) -> None:
        assert seat.channel is not None
        seat.fruitless = 0 if seat.channel.has_started else seat.fruitless + 1
        if seat.fruitless >= STARTS:
            raise lost
        why = str(lost).splitlines()[0]
        self._shards.note("replaced", f"{why}; another one refills from the samplers' streams")
        seat.channel.close()
        seat.lives, seat.saved = seat.lives + 1, None
        self._start(index, seat)

    def _start(self, index: int, seat: Seat) -> None:
        shards, settings = self._shards, self._settings
        streams = [self._streams[number] for number in seat.sources]
        seat.channel = ShardChannel.create(self._channel_spec(seat))
        plan = ShardPlan(
            tuple(stream.handle.attach for stream in streams[: seat.live]),
            tuple(stream.handle.attach for stream in streams[seat.live :]),
            seat.channel.handle,
            self._capacity(seat),
            settings.gamma,
            settings.steps,
            settings.alpha,
            derive(shards.root_seed, "replay", index, seat.lives),
            seat.saved,
        )
        seat.pulse = Pulse(f"replay shard {index}")
        seat.worker = seat.pulse.spawn(shards.crew, ReplayShard, plan)
        seat.running = seat.worker.submit("run")

    def _capacity(self, seat: Seat) -> int:
        """Its share, by the columns that are written."""
        columns = [source.columns for source in self._sources[: self._live]]
        own = sum(columns[number] for number in seat.sources[: seat.live])
        return self._settings.capacity * own // sum(columns)

    def _channel_spec(self, seat: Seat) -> ChannelSpec:
        sources = [self._sources[number] for number in seat.sources]
        seen, acted = sources[0].arrays[:2]
        return ChannelSpec(
            (seen.dtype.str, seen.shape[1]),
            (acted.dtype.str, acted.shape[1]),
            -(-self._settings.batch_size // CHUNKS_A_BATCH),
            sum(source.slots for source in sources),
            len(sources),
        )

    def close(self) -> None:
        """End the shards, and let go of all channels."""
        for seat in self.all:
            if seat.worker is not None:
                self._shards.crew.end(seat.worker)
            if seat.channel is not None:
                seat.channel.close()
