"""A worker as its job's process sees it, and the calls that it has not answered."""

import pickle
from collections import deque
from collections.abc import Callable
from typing import Any

from covey.platform.errors import UserError
from covey.platform.runtime.crew import Pending, Worker, WorkerLost
from covey.platform.runtime.direct_line import LINE_ENDS, Line
from covey.platform.runtime.laid import SharedValue
from covey.platform.runtime.segment import SegmentGone

BROKEN = (*LINE_ENDS, pickle.UnpicklingError, SegmentGone)
"""What comes over a line whose other side is dead or out of its mind."""


class RemoteTraceback(Exception):
    """The worker's traceback, as the cause of what was raised there."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Call:
    """A call and, once it is settled, what became of it."""

    def __init__(self, method: str, arguments: tuple[Any, ...]) -> None:
        self.method, self.arguments = method, arguments
        self.settled = False
        self._value: Any = None
        self._error: Exception | None = None

    def is_due(self) -> bool:
        """Whether all its arguments are there."""
        return all(one.settled for one in self.arguments if isinstance(one, Call))

    def given(self, shared: Callable[[SharedValue], Any]) -> list[Any]:
        """Its arguments; shared ones in the form that the way to the worker asks for. Raises what a
        call raised whose result is one.
        """
        plain = [one.result() if isinstance(one, Call) else one for one in self.arguments]
        return [shared(one) if isinstance(one, SharedValue) else one for one in plain]

    def settle(self, value: Any = None, error: Exception | None = None) -> None:
        self.settled, self._value, self._error = True, value, error
        self.arguments = ()

    def result(self) -> Any:
        """What it returned; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._value


class DirectWorker:
    """Hands calls to `inner`, whose call `serving` is to answer them: over its line, one after the
    other, or `afar` where it can have none. They wait until either is there.
    """

    def __init__(self, name: str, inner: Worker, serving: Pending) -> None:
        self.name, self.inner, self.serving = name, inner, serving
        self.line: Line | None = None
        self.pid: int | None = None
        self.afar: Callable[[Call], None] | None = None
        self._calls: deque[Call] = deque()
        self._asked = False
        """Whether the oldest call is on the line."""
        self._lost = ""

    def submit(self, method: str, *arguments: Any) -> Pending:
        call = Call(method, arguments)
        self._calls.append(call)
        if self._lost:
            self.lose(self._lost)
        self.advance()
        return call

    def advance(self) -> None:
        """Begin the next call if it is time. The answer to the one before has been read whole:
        two sides that both write what is large would wait for each other.
        """
        while self._calls and not self._asked and self._calls[0].is_due():
            call = self._calls[0]
            try:
                if self.line is not None:
                    self._ask(self.line, call)
                    continue
                if self.afar is None:
                    return
                self.afar(call)
            except Exception as error:  # of its arguments: nothing has been sent
                call.settle(error=error)
            self._calls.popleft()

    def _ask(self, line: Line, call: Call) -> None:
        order = line.pack((call.method, call.given(lambda shared: shared.form)))
        self._asked = True
        try:
            line.send(order)
        except LINE_ENDS:
            return  # `hear` is about to find out

    def hear(self) -> None:
        """Take the answer to the oldest call, which is there or on its way. WorkerLost if the line
        has ended.
        """
        assert self.line is not None
        try:
            value, error, story = self.line.unpack(self.line.receive())
        except BROKEN as end:
            raise WorkerLost(f"{self.name} died: its line ended ({end!r})") from end
        except Exception as unread:
            value, error, story = None, RuntimeError(f"{self.name} answered: {unread!r}"), None
        if not self._asked:
            raise WorkerLost(f"{self.name} died: it said what it was not asked")
        if story is not None and not isinstance(error, UserError):
            error.__cause__ = RemoteTraceback(story)
        self._asked = False
        self._calls.popleft().settle(value, error)
        self.advance()

    def lose(self, why: str) -> None:
        """It answers no more: calls that it has not answered raise WorkerLost."""
        self._lost = why
        if self.line is not None:
            self.line.close()
        begun = self._asked
        self.line, self._asked = None, False
        while self._calls:
            self._calls.popleft().settle(error=WorkerLost(why, begun))
            begun = False
