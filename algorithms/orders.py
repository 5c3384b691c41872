"""How the driver tells the learner how far to go, and hears how it went and where it stands.

A call of an actor costs a millisecond and more, on both sides. To a learner in a process of its own
orders go through shared memory, and answers come back the same way.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum
from functools import partial
from typing import Self

from covey.algorithms.learner import LearnerState
from covey.algorithms.state_memory import StateMemory, read_state
from covey.platform.runtime.interfaces import Record
from covey.platform.runtime.notes import Notes
from covey.platform.runtime.weights_channel import WeightsHandle

WAIT_S = 0.0005
"""Between two looks of the learner for its next order, which comes at once but for checkpoints."""


@dataclass(frozen=True)
class Slice:
    """How long to go on before reporting back: until one of these is reached, at least one turn.

    `seconds` of time, `env_steps` more steps; `until_env_steps` and `until_return` are the job's
    own, so that it does not overshoot.
    """

    seconds: float = math.inf
    env_steps: float = math.inf
    until_env_steps: int | None = None
    until_return: float | None = None
    pids: tuple[int, ...] = ()
    """The job's processes, for the meter of CPU use."""


@dataclass(frozen=True)
class Report:
    """Where training stands: figures since the report before, the meters' figures since this
    learner was made, and the counters.
    """

    metrics: dict[str, float]
    meters: dict[str, float]
    progress: Record
    turns: int
    events: tuple[tuple[str, str], ...] = ()
    """What the run folder is to tell: kind and message each."""
    waiting: bool = False
    """Whether it was made in a turn that waits for others: figures come with the next ones."""


class Interrupted(Exception):
    """Ends an update that waits for others: the next order is not to go on with it. Whoever updates
    leaves things as they were before.
    """


class Ask(Enum):
    """Other orders than slices: tell your state, or end."""

    STATE = "state"
    END = "end"


class Orders:
    """The driver's end. One order at a time, which is answered before the next is given: soon, also
    if the learner waits for others (see `OrderTaker.meanwhile`).
    """

    def __init__(self) -> None:
        self._orders, self._answers = Notes.create(), Notes.create()

    def give(self, part: Slice) -> None:
        """Have the learner learn a slice; `report` tells when it has."""
        self._orders.write({"part": asdict(part)})

    def report(self) -> Report | None:
        """Of the slice ordered last, once it is over."""
        note = self._answers.read()
        if note is None:
            return None
        events = tuple((kind, message) for kind, message in note.pop("events"))
        return Report(**note, events=events)

    def ask_state(self) -> None:
        """Have the learner tell where it stands; `state` gives it."""
        self._orders.write({"ask": Ask.STATE.value})

    def state(self) -> tuple[LearnerState, Record] | None:
        """The learner's state and counters, once they are there. SegmentGone if it has died."""
        note = self._answers.read()
        return None if note is None else (read_state(note["place"]), note["progress"])

    @property
    def other_end(self) -> "Callable[[], OrderTaker]":
        """Opens the learner's end, in its process."""
        return partial(OrderTaker.open, self._orders.handle, self._answers.handle)

    def close(self) -> None:
        """Have the learner's call end; let go of the memory."""
        self._orders.write({"ask": Ask.END.value})
        self._orders.close()
        self._answers.close()


class OrderTaker:
    """The learner's end."""

    def __init__(self, orders: Notes, answers: Notes) -> None:
        self._orders, self._answers = orders, answers
        self._state = StateMemory()
        self._next: Slice | Ask | None = None
        self._is_ahead = False
        """Whether the slice in hand has been answered: another order is on its way."""

    @classmethod
    def open(cls, orders: WeightsHandle, answers: WeightsHandle) -> Self:
        """Call in the learner's process. SegmentGone if the driver has let go."""
        return cls(Notes.attach(orders), Notes.attach(answers))

    def take(self) -> Slice | Ask:
        """Wait for the next order."""
        while (order := self._look()) is None:
            time.sleep(WAIT_S)
        self._next, self._is_ahead = None, False
        return order

    def _look(self) -> Slice | Ask | None:
        """The next order, which stays the next one until it is taken."""
        if self._next is None and (note := self._orders.read()) is not None:
            self._next = order_in(note)
        return self._next

    def tell(self, report: Report) -> None:
        """Of the slice taken last. Interrupted if it has been answered before, and none follows."""
        if self._is_ahead:
            while self._look() is None:
                time.sleep(WAIT_S)
            self._go_on()
        self._answers.write(asdict(report))

    def meanwhile(self, report: Callable[[], Report]) -> None:
        """Call now and then while a turn waits for others: what it has to `report` is the answer to
        the slice, which goes on under the next order. Interrupted if that is no slice.
        """
        if self._is_ahead:
            if self._look() is None:
                return
            self._go_on()
        self._answers.write(asdict(report()))
        self._is_ahead = True

    def _go_on(self) -> None:
        if not isinstance(self._next, Slice):
            raise Interrupted
        self.take()

    def tell_state(self, state: LearnerState, progress: Record) -> None:
        """Where the learner stands."""
        self._answers.write({"place": self._state.write(state), "progress": progress})


def order_in(note: Record) -> Slice | Ask:
    """What `Orders` wrote."""
    if "ask" in note:
        return Ask(note["ask"])
    part = note["part"]
    return Slice(**part | {"pids": tuple(part["pids"])})
