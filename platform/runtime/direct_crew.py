"""A crew whose calls go over direct lines: no call of Ray is on a hot path.

For workers that are called many times a second: a call costs a tenth of Ray's. Another crew starts,
places and watches them. A worker on another machine than the caller's has no line, and is called
through that crew.
"""

import selectors
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from covey.platform.runtime.crew import Crew, Pending, Worker, WorkerLost
from covey.platform.runtime.direct_door import Door
from covey.platform.runtime.direct_line import LineHost
from covey.platform.runtime.direct_worker import Call, DirectWorker
from covey.platform.runtime.laid import SharedValue
from covey.platform.runtime.pipe import Pipe

REASON_S = 0.5
"""So long a death that a line's end tells of is given to be explained by who watches processes."""


class WatchingCrew(Crew, Protocol):
    """A crew that says when a call is done: here, when a worker has died or can have no line."""

    def when_ready(self, pending: Pending, then: Callable[[], None]) -> None:
        """Call `then`, in whatever thread, as soon as `fetch` would return without waiting."""


class DirectCrew:
    """Works while its caller waits, in the thread that it does so; it has none of its own. Who
    spawns a worker ends the one that had its name.

    Arguments and results must be picklable without cloudpickle, except those of `spawn`. A result
    that is another call's argument travels through the caller.
    """

    def __init__(self, inner: WatchingCrew) -> None:
        self._inner = inner
        self._door = Door()
        self._news = Pipe.create("?")
        self._numbers = count()
        self._workers: dict[int, DirectWorker] = {}
        self._afar: dict[Call, Pending] = {}
        self._shared_afar: WeakKeyDictionary[SharedValue, Pending] = WeakKeyDictionary()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._door, selectors.EVENT_READ, self._admit)
        self._selector.register(self._news, selectors.EVENT_READ, self._hear_news)

    def spawn(self, name: str, factory: Callable[..., object], *arguments: Any) -> Worker:
        for one in [one for one in self._workers.values() if one.name == name]:
            self.end(one)  # a RayWorker that is dropped ends, but not in the middle of a call
        number = next(self._numbers)
        inner = self._inner.spawn(name, LineHost, factory, *arguments)
        serving = inner.submit("serve", self._door.path, self._door.key, number)
        worker = self._workers[number] = DirectWorker(name, inner, serving)
        self._tell_when_ready(serving)
        return worker

    def share(self, value: Any) -> Pending:
        return SharedValue(next(self._numbers), value)

    def fetch(self, pending: Sequence[Pending]) -> list[Any]:
        return [self._result(one) for one in pending]

    def _result(self, pending: Pending) -> Any:
        if isinstance(pending, SharedValue):
            return pending.value
        assert isinstance(pending, Call)
        while not pending.settled:
            self._work(None)
        return pending.result()

    def is_ready(self, pending: Pending) -> bool:
        if not _is_settled(pending):
            self._work(0.0)
        return _is_settled(pending)

    def pids(self) -> dict[str, int]:
        near = {one.name: one.pid for one in self._workers.values() if one.pid is not None}
        return self._inner.pids() | near

    def wait(self, pending: Sequence[Pending], timeout_s: float) -> None:
        end_s = time.monotonic() + timeout_s
        while pending and not any(map(_is_settled, pending)):
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return
            self._work(left_s)

    def end(self, worker: Worker) -> None:
        assert isinstance(worker, DirectWorker)
        self._inner.end(worker.inner)
        self._lose(worker, f"{worker.name} died: it was ended")

    def free_cpus(self) -> float:
        return self._inner.free_cpus()

    def spans_nodes(self) -> bool:
        return self._inner.spans_nodes()

    def helpers(self) -> Callable[[], Crew]:
        return self._inner.helpers()

    def close(self) -> None:
        for worker in list(self._workers.values()):
            self._lose(worker, f"{worker.name} died: its crew was closed")
        self._selector.close()
        self._door.close()
        self._inner.close()

    def _work(self, timeout_s: float | None) -> None:
        """Deal with what has come, or with what comes first in so many seconds."""
        for key, _ in self._selector.select(timeout_s):
            key.data()
        for worker in self._workers.values():
            worker.advance()  # a call may have waited for another worker's result

    def _admit(self) -> None:
        admitted = self._door.admit()
        if admitted is None:
            return
        line, number, pid = admitted
        if number not in self._workers:  # it was ended meanwhile
            line.close()
            return
        worker = self._workers[number]
        worker.line, worker.pid = line, pid
        self._selector.register(line, selectors.EVENT_READ, partial(self._hear, worker))

    def _hear(self, worker: DirectWorker) -> None:
        if worker.line is None:  # lost since the selector looked
            return
        try:
            worker.hear()
        except WorkerLost as error:
            self._inner.wait([worker.serving], REASON_S)
            self._inner.end(worker.inner)
            self._lose(worker, self._why_ended(worker) or str(error))

    def _hear_news(self) -> None:
        """A worker has died, or can have no line; or one without a line has answered."""
        while self._news.receive(0.0):
            pass
        for worker in list(self._workers.values()):
            if worker.afar is None and self._inner.is_ready(worker.serving):
                if why := self._why_ended(worker):
                    self._lose(worker, why)
                elif worker.line is None:
                    worker.afar = partial(self._call_afar, worker.inner)
        for call, answer in list(self._afar.items()):
            if self._inner.is_ready(answer):
                del self._afar[call]
                self._settle(call, answer)

    def _why_ended(self, worker: DirectWorker) -> str:
        """What the worker's endless call raised; nothing if it returned, or goes on."""
        if self._inner.is_ready(worker.serving):
            try:
                self._inner.fetch([worker.serving])
            except WorkerLost as error:
                return str(error)
            except Exception as error:
                return f"{worker.name} died: {error!r}"
        return ""

    def _lose(self, worker: DirectWorker, why: str) -> None:
        if worker.line is not None:
            self._selector.unregister(worker.line)
        worker.lose(why)
        self._workers = {n: one for n, one in self._workers.items() if one is not worker}

    def _call_afar(self, inner: Worker, call: Call) -> None:
        answer = inner.submit("call", call.method, *call.given(self._shared_with_afar))
        self._afar[call] = answer
        self._tell_when_ready(answer)

    def _shared_with_afar(self, shared: SharedValue) -> Pending:
        if shared not in self._shared_afar:
            self._shared_afar[shared] = self._inner.share(shared.value)
        return self._shared_afar[shared]

    def _settle(self, call: Call, answer: Pending) -> None:
        try:
            (value,) = self._inner.fetch([answer])
            call.settle(value)
        except Exception as error:
            call.settle(error=error)

    def _tell_when_ready(self, pending: Pending) -> None:
        self._inner.when_ready(pending, partial(self._news.push, True))


def _is_settled(pending: Pending) -> bool:
    return isinstance(pending, SharedValue) or (isinstance(pending, Call) and pending.settled)
