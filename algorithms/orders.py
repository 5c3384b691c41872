"""How the driver tells the learner how far to go, and hears how it went.

A call of an actor costs a millisecond and more, on both sides. To a learner in a process of its own
slices are ordered through shared memory, and reports come back the same way.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Self

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


class Orders:
    """The driver's end."""

    def __init__(self) -> None:
        self._orders, self._reports = Notes.create(), Notes.create()

    def give(self, part: Slice) -> None:
        """Have the learner learn a slice; `report` tells when it has."""
        self._orders.write({"part": asdict(part)})

    def end(self) -> None:
        """Have the learner's call end."""
        self._orders.write({})

    def report(self) -> Report | None:
        """Of the slice ordered last, once it is over."""
        note = self._reports.read()
        if note is None:
            return None
        events = tuple((kind, message) for kind, message in note.pop("events"))
        return Report(**note, events=events)

    @property
    def other_end(self) -> "Callable[[], OrderTaker]":
        """Opens the learner's end, in its process."""
        return partial(OrderTaker.open, self._orders.handle, self._reports.handle)

    def close(self) -> None:
        """Let go of the memory."""
        self._orders.close()
        self._reports.close()


class OrderTaker:
    """The learner's end."""

    def __init__(self, orders: Notes, reports: Notes) -> None:
        self._orders, self._reports = orders, reports

    @classmethod
    def open(cls, orders: WeightsHandle, reports: WeightsHandle) -> Self:
        """Call in the learner's process. SegmentGone if the driver has let go."""
        return cls(Notes.attach(orders), Notes.attach(reports))

    def take(self) -> Slice | None:
        """Wait for the next slice; None if there is to be none."""
        while (note := self._orders.read()) is None:
            time.sleep(WAIT_S)
        if not note:
            return None
        part = note["part"]
        return Slice(**part | {"pids": tuple(part["pids"])})

    def answer(self, report: Report) -> None:
        """Tell of the slice taken last."""
        self._reports.write(asdict(report))
