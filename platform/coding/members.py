"""The workers of a coded pool: their starts, their orders, and who takes a dead one's place."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from covey.platform.coding.board import BoardHandle
from covey.platform.coding.code import HEAVY_NICENESS, Code
from covey.platform.coding.worker import ORDER, CodedWorker
from covey.platform.runtime.crew import Crew, Pending, Worker, WorkerLost
from covey.platform.runtime.pipe import Pipe, PipeHandle

STARTS = 3
"""So many deaths of one worker in a row over its start, or over one iteration, are put up with."""


@dataclass(frozen=True)
class Order:
    """An iteration, which of the codes it is under, how long each worker sits on its result, and
    who has been told to begin.
    """

    iteration: int
    which: int
    delays_s: Sequence[float]
    begun: set[int] = field(default_factory=set)


@dataclass
class Member:
    """A worker, its orders, the call that opens its channels, and its endless one."""

    orders: Pipe
    worker: Worker
    connected: Pending
    running: Pending
    died_in: int | None = None
    """The iteration in which one of its number died last."""
    fruitless: int = 0
    """Deaths in a row before it had begun, or in one and the same iteration."""


class Members:
    """See above. `make` gives what worker j of a pool is made with, besides its niceness; `note`
    hears of everybody who is replaced. They end with the crew.
    """

    def __init__(
        self,
        crew: Crew,
        codes: Sequence[Code],
        make: Callable[[int], tuple[Any, ...]],
        board: BoardHandle,
        answers: PipeHandle,
        note: Callable[[str, str], None],
    ) -> None:
        self._crew, self._codes, self._make, self._note = crew, codes, make, note
        self._channels = board, answers
        self._order = Order(-1, 0, ())
        self.replaced = 0
        self._members: list[Member] = []
        for index in range(max(code.workers for code in codes)):
            orders = Pipe.create(ORDER)
            self._members.append(Member(orders, *self._spawn(index, orders)))

    def _spawn(self, index: int, orders: Pipe) -> tuple[Worker, Pending, Pending]:
        nice = HEAVY_NICENESS if self._stands_back(index) else 0
        worker = self._crew.spawn(f"coded {index}", CodedWorker, *self._make(index), nice)
        board, answers = self._channels
        connected = worker.submit("connect", board, orders.handle, answers)
        return worker, connected, worker.submit("run")

    def _stands_back(self, index: int) -> bool:
        """Whether it is there for stragglers under every code that it works for: who has become
        nicer stays so.
        """
        return all(index in code.heavy for code in self._codes if index < code.workers)

    def begin(self, order: Order) -> None:
        """What `give` hands out from now on."""
        self._order = order

    def give(self, workers: Iterable[int]) -> None:
        """Let these begin. Who hangs has a queue of old orders, of which the oldest are dropped."""
        order = self._order
        for worker in workers:
            order.begun.add(worker)
            delay_s = order.delays_s[worker]
            self._members[worker].orders.push(order.iteration, order.which, delay_s)

    def answered(self, worker: int) -> None:
        """It has done what it was ordered."""
        self._members[worker].fruitless = 0

    def starting(self) -> set[int]:
        """Who has not opened its channels yet."""
        return {
            index
            for index, member in enumerate(self._members)
            if not self._crew.is_ready(member.connected)
        }

    def missing(self) -> set[int]:
        """Who died, and whose successor has not begun."""
        died = {k for k, member in enumerate(self._members) if member.died_in is not None}
        return died & self.starting()

    def wait(self, timeout_s: float) -> None:
        """Until one of those who are starting has begun, or died, or the time is over."""
        waited = [self._members[index].connected for index in self.starting()]
        self._crew.wait(waited, timeout_s)

    def heal(self) -> set[int]:
        """Put others in the place of workers that died; who they were. Raises what one raised."""
        lost: set[int] = set()
        for index, member in enumerate(self._members):
            if not self._crew.is_ready(member.running):
                continue
            began = False
            try:
                self._crew.fetch([member.connected])  # what this raised tells more
                began = True
                self._crew.fetch([member.running])
            except WorkerLost as error:
                self._count(member, began, error)
                lost.add(index)
                self._replace(index, str(error).splitlines()[0])
        return lost

    def _count(self, member: Member, began: bool, error: WorkerLost) -> None:
        """RuntimeError if it has died too often. Deaths in different iterations are not held
        against a worker, whether it answers in them or not: it may be there for stragglers, or be
        one.
        """
        again = member.died_in == self._order.iteration
        member.fruitless = member.fruitless + 1 if again or not began else 0
        member.died_in = self._order.iteration
        if member.fruitless > STARTS:
            raise RuntimeError(f"{error}; {STARTS} in a row never answered") from error

    def _replace(self, index: int, why: str) -> None:
        member, order = self._members[index], self._order
        self.replaced += 1
        self._note("replaced", f"{why}; another one takes its place")
        member.worker, member.connected, member.running = self._spawn(index, member.orders)
        if index in order.begun:  # who died may have died over it
            member.orders.push(order.iteration, order.which, 0.0)

    def close(self) -> None:
        """Tell all to end; let go of their orders."""
        for member in self._members:
            member.orders.push(-1, 0, 0.0)
        for member in self._members:
            member.orders.close()
