"""The memory between a learner and one replay shard: transitions drawn ahead come this way, errors
go back, and neither side waits for a call of the other.

The learner:                                   The shard:

    while not channel.has(n): wait a moment        channel.take_errors(correct)
    channel.give(n, into, names)                   if channel.has_room: channel.put(draw)
    ...                                            channel.tell(total, transitions)
    channel.send_errors(names, errors)

Numbers that only grow tell how far each side is; a word counts from the moment when it is raised,
which happens last. Each life of a shard has a channel of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from covey.algorithms.replay import Batch, Floats, Indices
from covey.algorithms.shard_spec import FIGURES, LEARNER, SHARD, ChannelSpec, Names
from covey.platform.runtime import segment
from covey.platform.runtime.fence import fence
from covey.platform.runtime.layout import floats, integers
from covey.platform.runtime.segment import Memory, MemoryHandle

_PUT, _ERRORS_TAKEN, _TRANSITIONS, _ANSWERED, _STARTED = range(5)
_TOTAL, _HIGHEST = range(2)
_GIVEN, _ERRORS_SENT, _ASKED = range(3)


@dataclass(frozen=True)
class ChannelHandle:
    """Opens a channel in another process, while the one that gave it holds it."""

    spec: ChannelSpec
    memory: MemoryHandle

    def attach(self) -> "ShardChannel":
        """The channel. SegmentGone if it is no longer held."""
        return ShardChannel(self.spec, segment.attach(self.memory))


class ShardChannel:
    """Both sides."""

    def __init__(self, spec: ChannelSpec, memory: Memory) -> None:
        self.spec, self._memory = spec, memory
        self._views = views = spec.layout.views(memory.buffer)
        self._shard, self._learner = integers(views[SHARD]), integers(views[LEARNER])
        self._figures = floats(views[FIGURES])
        self.known: NDArray[np.int64] = views["known"]
        """By source, the rows [low, high) that had priorities when the shard was asked last."""
        self.leaves: NDArray[np.float64] = views["leaves"]
        """The priorities of all slots then."""

    @classmethod
    def create(cls, spec: ChannelSpec) -> Self:
        """A new one, with nothing in it. UserError if the machine's memory is too small for it."""
        return cls(spec, segment.create("replay shard", spec.layout.size_bytes, shared=True))

    @property
    def handle(self) -> ChannelHandle:
        """For the shard, good while this process holds the channel."""
        return ChannelHandle(self.spec, self._memory.handle)

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()

    # The shard's side

    def start(self) -> None:
        """From now on the shard is there."""
        self._shard[_STARTED] = 1

    @property
    def has_room(self) -> bool:
        """Whether a chunk can be put."""
        return self._shard[_PUT] + self.spec.chunk - self._learner[_GIVEN] <= self.spec.ahead

    def put(self, draw: Callable[[Batch, Names], None]) -> None:
        """Have a chunk drawn into its place."""
        fence()  # what was read there comes before what is written there
        first = self._shard[_PUT] % self.spec.ahead
        part, views = slice(first, first + self.spec.chunk), self._views
        own = {name: views[name][part] for name in ("rows", "priorities")}
        batch = Batch(
            *(views[name][part] for name in ("observations", "actions", "rewards", "discounts")),
            *(views[name][part] for name in ("next_observations", "weights", "slots")),
        )
        draw(batch, Names(batch.slots, own["rows"], own["priorities"]))
        fence()
        self._shard[_PUT] += self.spec.chunk

    def take_errors(self, correct: Callable[[Indices, Indices, Floats], None]) -> bool:
        """Hand over all errors that have come; whether there were any."""
        first, end = self._shard[_ERRORS_TAKEN], self._learner[_ERRORS_SENT]
        if first == end:
            return False
        fence()
        places = np.arange(first, end) % len(self._views["errors"])
        correct(*(self._views[name][places] for name in ("error_slots", "error_rows", "errors")))
        fence()
        self._shard[_ERRORS_TAKEN] = end
        return True

    def tell(self, total: float, transitions: int) -> None:
        """The sum of all priorities, and how many slots can be drawn."""
        self._figures[_TOTAL], self._shard[_TRANSITIONS] = total, transitions

    @property
    def is_asked(self) -> bool:
        """Whether the learner waits for an answer."""
        asked = self._learner[_ASKED] != self._shard[_ANSWERED]
        fence()  # what was sent before is seen after
        return asked

    def answer(self, highest: float) -> None:
        """`known` and `leaves` say where the shard stands."""
        self._figures[_HIGHEST] = highest
        fence()
        self._shard[_ANSWERED] = self._learner[_ASKED]

    # The learner's side

    @property
    def has_started(self) -> bool:
        """Whether the shard is there."""
        return bool(self._shard[_STARTED])

    def has(self, count: int) -> bool:
        """Whether so many transitions can be had at once."""
        return self._shard[_PUT] - self._learner[_GIVEN] >= count

    @property
    def total(self) -> float:
        """The sum of the shard's priorities; 0 until something has been drawn."""
        return self._figures[_TOTAL] if self._shard[_PUT] else 0.0

    @property
    def transitions(self) -> int:
        """How many slots the shard can draw."""
        return self._shard[_TRANSITIONS]

    def give(self, count: int, batch: Batch, names: Names, at: int) -> None:
        """Copy the next `count` transitions, of those that are ready, to their places from `at` on;
        of the weights nothing.
        """
        fence()
        into: dict[str, NDArray[Any]] = {
            **{name: getattr(batch, name) for name in ("observations", "actions", "rewards")},
            **{name: getattr(batch, name) for name in ("discounts", "next_observations")},
            **{name: getattr(names, name) for name in ("slots", "rows", "priorities")},
        }
        while count:
            first = self._learner[_GIVEN] % self.spec.ahead
            some = min(count, self.spec.ahead - first)
            for name, array in into.items():
                array[at : at + some] = self._views[name][first : first + some]
            fence()
            self._learner[_GIVEN] += some
            count, at = count - some, at + some

    def send_errors(self, names: Names, errors: Floats) -> None:
        """Of transitions that were given."""
        first = self._learner[_ERRORS_SENT]
        places = np.arange(first, first + len(errors)) % len(self._views["errors"])
        self._views["error_slots"][places] = names.slots
        self._views["error_rows"][places] = names.rows
        self._views["errors"][places] = errors
        fence()
        self._learner[_ERRORS_SENT] = first + len(errors)

    def ask(self) -> None:
        """Have the shard say where it stands, all errors sent taken in."""
        fence()
        self._learner[_ASKED] += 1

    def has_answered(self) -> bool:
        """Whether `known`, `leaves` and `highest` are what it was asked for."""
        return not self.is_asked

    @property
    def highest(self) -> float:
        """The highest priority so far, when the shard was asked last."""
        fence()
        return self._figures[_HIGHEST]
