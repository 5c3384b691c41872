"""Clients in a process of their own: what a Ray actor of an `ActorGrid` runs."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

import torch
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from covey.federation.app_folder import ConfigValue
from covey.federation.client_runner import Answer, ClientRunner, Question
from covey.federation.flower_internals import Metadata, become_server, message_of
from covey.platform.runtime.memory import keep_freed_memory
from covey.platform.runtime.threads import one_blas_thread

GRACE_S = 1.0
"""For a client that is at work when the time is over."""

Record = ArrayRecord | ConfigRecord | MetricRecord


@dataclass(frozen=True)
class Parcel:
    """A question on its way. A record that others get too is a place in what all are sent."""

    client: int
    metadata: Metadata
    records: Mapping[str, Record | int]
    round: int
    state: RecordDict

    def opened(self, shared: Sequence[Record]) -> Question:
        """The question itself."""
        content = RecordDict(
            {
                name: shared[record] if isinstance(record, int) else record
                for name, record in self.records.items()
            }
        )
        message = message_of(self.metadata, content)
        return Question(self.client, message, self.round, self.state)


def packed(asked: Sequence[Question]) -> tuple[list[Record], list[Parcel]]:
    """Questions for the way: the records that several carry, once, and a parcel for each."""
    carried: dict[int, int] = {}
    for question in asked:
        for record in question.message.content.values():
            carried[id(record)] = carried.get(id(record), 0) + 1
    shared: list[Record] = []
    places: dict[int, int] = {}
    parcels = []
    for question in asked:
        records: dict[str, Record | int] = {}
        for name, record in question.message.content.items():
            if carried[id(record)] > 1 and id(record) not in places:
                places[id(record)] = len(shared)
                shared.append(record)
            records[name] = places.get(id(record), record)
        metadata = question.message.metadata
        parcels.append(Parcel(question.client, metadata, records, question.round, question.state))
    return shared, parcels


@dataclass(frozen=True)
class Returned:
    """An answer, None if there was no time left to begin or to end, and the seconds that it took.
    `broken_off`: the client was at work, so what it has left behind in its process may be anything.
    """

    answer: Answer | None
    seconds: float = 0.0
    broken_off: bool = False


class ClientActor:
    """Answers for clients, one after the other. `threads`: of torch, for each client."""

    def __init__(
        self,
        open_app: Callable[[], ClientApp],
        num_clients: int,
        seed: int,
        run_config: Mapping[str, ConfigValue],
        threads: int,
    ) -> None:
        become_server()
        one_blas_thread()
        keep_freed_memory()
        torch.set_num_threads(threads)
        self._runner = ClientRunner(open_app(), num_clients, seed, run_config)

    def answer(
        self, shared: Sequence[Record], parcels: Sequence[Parcel], end_s: float = inf
    ) -> list[Returned]:
        """One for each parcel. After `end_s`, in seconds since the epoch, no further client begins,
        and one that is at work is broken off: those before it must not be lost with it.
        """
        returned: list[Returned] = []
        if time.time() >= end_s:
            return [Returned(None)] * len(parcels)
        try:
            with _alarm(end_s + GRACE_S - time.time()):
                for parcel in parcels:
                    if time.time() >= end_s:
                        break
                    began_s = time.monotonic()
                    answer = self._runner.answer(parcel.opened(shared))
                    returned.append(Returned(answer, time.monotonic() - began_s))
        except _TimeIsOver:
            returned.append(Returned(None, broken_off=True))
        left = len(parcels) - len(returned)
        return returned[: len(parcels)] + [Returned(None)] * left


class _TimeIsOver(BaseException):
    """Leaves a client's code. No Exception, lest the app swallow it."""


@contextmanager
def _alarm(after_s: float) -> Iterator[None]:
    """Break off the block after so many seconds. Only Python's code can be, and only in a process's
    main thread: there Ray runs an actor's methods. Whoever asked has to end the others.
    """
    if after_s == inf or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise _TimeIsOver

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(after_s, 1e-6))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
