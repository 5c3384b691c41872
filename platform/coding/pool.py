"""The coded worker pool: broadcasts a snapshot, decodes as soon as enough workers have answered."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.platform.coding.board import Board, BoardSpec
from covey.platform.coding.chooser import Chooser
from covey.platform.coding.code import HEAVY_NICENESS, Code, Floats
from covey.platform.coding.exact import Form, byte_code, digest
from covey.platform.coding.stragglers import Injection
from covey.platform.coding.turns import Turns
from covey.platform.coding.waiting import Patience, Waiting
from covey.platform.coding.worker import ANSWER, DONE, ORDER, CodedWorker, Tasks
from covey.platform.runtime.crew import Crew, Pending, Worker, WorkerLost
from covey.platform.runtime.layout import Layout
from covey.platform.runtime.pipe import Pipe

LOOK_S = 0.25
"""So often the pool looks for workers that died while it waits."""
STARTS = 3
"""So many deaths in a row of one worker that has never answered are put up with."""


@dataclass(frozen=True)
class Outcome:
    """What an iteration gave: the results of all tasks [M, P] (sum codes: their sum [P])."""

    values: NDArray[Any]
    metrics: dict[str, float]
    received: tuple[int, ...]
    iteration: int
    """Counts from 0, attempts that were given up included."""


@dataclass
class Member:
    """A worker, its orders, and its endless call."""

    orders: Pipe
    worker: Worker
    running: Pending
    fruitless: int = 0


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
class CodedPool:
    """N workers on tasks of M. `template` are arrays like each snapshot, `result` one like each
    result. `note` hears of every worker that is replaced or refused, and of waiting.
    """

    crew: Crew
    code: Code
    make_tasks: Callable[[], Tasks]
    template: Mapping[str, NDArray[Any]]
    result: NDArray[Any]
    note: Callable[[str, str], None]
    exact: bool = False
    injection: Injection = field(default_factory=Injection)
    others: Sequence[Code] = ()
    """To choose among, with `code` to begin with; it has the most workers."""
    cores: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    """That the workers share."""

    def __post_init__(self) -> None:
        code = self.code
        self._codes = (code, *self.others)
        size = self.result.size * 8  # of mixtures in float64
        self._forms: list[Form] = list(self._codes)
        if self.exact:
            exact = [byte_code(one, self.result.nbytes) for one in self._codes]
            self._forms, size = list(exact), max(one.sent_bytes for one in exact)
        self._chooser: Chooser | None = None
        if self.others:
            names = [f"{one.name} of {one.workers}" for one in self._codes]
            self._chooser = Chooser(names, lambda text: self.note("code", text))
        layout = Layout.of(self.template)
        self._board = Board.create(BoardSpec(layout, code.workers, code.tasks, size))
        self._answers = Pipe.create(ANSWER)
        self._iteration = -1
        self._task_s: float | None = None
        self._late = 0
        self._looked_s = time.monotonic()
        self._patience = Patience()
        self.replaced = 0
        self._members: list[Member] = []
        for index in range(code.workers):
            orders = Pipe.create(ORDER)
            worker = self._spawn(index)
            self._members.append(Member(orders, worker, self._begin(worker, orders)))

    def _spawn(self, index: int) -> Worker:
        nice = HEAVY_NICENESS if index in self._codes[0].heavy else 0
        arguments = self.make_tasks, self._forms, index, nice
        return self.crew.spawn(f"coded {index}", CodedWorker, *arguments)

    def _begin(self, worker: Worker, orders: Pipe) -> Pending:
        worker.submit("connect", self._board.handle, orders.handle, self._answers.handle)
        return worker.submit("run")

    def iterate(self, snapshot: Mapping[str, NDArray[Any]]) -> Outcome:
        """Have all tasks computed from a snapshot. Waits until enough workers have answered."""
        if self._chooser is None:
            outcome = self._attempt(snapshot, 0, inf)
            assert outcome is not None
            return outcome
        which, limit_s = self._chooser.next()
        outcome = self._attempt(snapshot, which, limit_s)
        if outcome is not None:
            self._chooser.took(which, outcome.metrics["iteration_s"])
            return outcome
        self._chooser.took(which, inf)
        outcome = self._attempt(snapshot, self._chooser.best, inf)
        assert outcome is not None
        return outcome

    def _attempt(
        self, snapshot: Mapping[str, NDArray[Any]], which: int, limit_s: float
    ) -> Outcome | None:
        """One iteration under one of the codes; None if it was given up after so many seconds."""
        began = time.perf_counter()
        self.code, self._form = self._codes[which], self._forms[which]
        self._iteration += 1
        iteration = self._iteration
        self._board.publish(iteration, snapshot)
        order = Order(iteration, which, self.injection.draw(iteration, self.code.workers))
        turns = Turns(self.code, self.cores, self._task_s)
        self._send(order, turns.begin(time.perf_counter()))
        broadcast = time.perf_counter()
        answers = self._collect(order, turns, began + limit_s)
        self._board.end(iteration)
        if answers is None:
            return None
        received = list(answers)
        decoding = time.perf_counter()
        values, bound, used = self._decode(received)
        ended = time.perf_counter()
        self._task_s = float(np.mean(list(answers.values())))
        metrics = {
            "iteration_s": ended - began,
            "broadcast_s": broadcast - began,
            "task_s": self._task_s,
            "decode_s": ended - decoding,
            "results_used": float(used),
            "results_received": float(len(received)),
            "decode_error_bound": bound,
            "late_results": float(self._late),
        }
        return Outcome(values, metrics, tuple(received), iteration)

    def _send(self, order: Order, workers: Sequence[int]) -> None:
        order.begun.update(workers)
        for worker in workers:
            delay_s = order.delays_s[worker]
            self._members[worker].orders.send(order.iteration, order.which, delay_s)

    def _collect(self, order: Order, turns: Turns, end_s: float) -> dict[int, float] | None:
        """The workers whose results are enough, in the order in which they came, with what a task
        took each; None if they were not enough when the time was over (time.perf_counter).
        """
        received: dict[int, float] = {}
        waiting = Waiting(self.code, self._form, self.note, self._patience, time.monotonic())
        while not self._form.decodable(list(received)):
            now_s = time.perf_counter()
            if now_s >= end_s:
                return None
            self._send(order, turns.due(now_s))
            answer = self._answers.receive(min(LOOK_S, end_s - now_s, turns.next_s(now_s) - now_s))
            if time.monotonic() > self._looked_s + LOOK_S:
                waiting.lost |= self._heal(order)
                waiting.look(received, self._looked_s)
            if answer is None:
                continue
            worker, status, of_iteration, task_s = answer
            if of_iteration != order.iteration or worker in received:
                self._late += 1
                continue
            turns.answered(worker)
            if status == DONE:
                received[worker] = task_s
                self._members[worker].fruitless = 0
            else:
                waiting.refuse(worker)
        return received

    def _heal(self, order: Order) -> set[int]:
        """Put others in the place of workers that died; who they were."""
        lost: set[int] = set()
        self._looked_s = time.monotonic()
        for index, member in enumerate(self._members):
            if not self.crew.is_ready(member.running):
                continue
            try:
                self.crew.fetch([member.running])
            except WorkerLost as error:
                lost.add(index)
                member.fruitless += 1
                if member.fruitless > STARTS:
                    raise RuntimeError(f"{error}; {STARTS} in a row never answered") from error
                self.replaced += 1
                self.note("replaced", f"{str(error).splitlines()[0]}; another one takes its place")
                member.worker = self._spawn(index)
                member.running = self._begin(member.worker, member.orders)
                if index in order.begun:  # who died may have died over it
                    member.orders.send(order.iteration, order.which, 0.0)
        return lost

    def _decode(self, received: Sequence[int]) -> tuple[NDArray[Any], float, int]:
        """The results, the bound of their error, and how many were used."""
        if not isinstance(self._form, Code):
            blobs = self._form.decode(
                {w: self._board.sent[w][: self._form.sent_bytes].data for w in received}
            )
            self._check_digests(blobs, received)
            values = [np.frombuffer(blob, dtype=self.result.dtype) for blob in blobs]
            return np.stack(values), 0.0, len(received)
        sent: dict[int, Floats] = {
            worker: self._board.sent[worker].view(np.float64) for worker in received
        }
        decoded = self.code.decode_with_bound(sent)
        return decoded.values, decoded.error_bound, decoded.results_used

    def _check_digests(self, blobs: Sequence[Any], received: Sequence[int]) -> None:
        """RuntimeError, which names the worker, if somebody computed something else."""
        for task, blob in enumerate(blobs):
            wanted = np.frombuffer(digest(blob), dtype=np.uint8)
            for worker in received:
                told = self._board.digests[worker][task]
                if task in self.code.tasks_of(worker) and not np.array_equal(told, wanted):
                    raise RuntimeError(
                        f"coded worker {worker} has another result of task {task} than was decoded:"
                        " its tasks do not give the same bits everywhere"
                    )

    def close(self) -> None:
        """Tell all workers to end; let go of the channels."""
        self._board.end(2**62)
        for member in self._members:
            with suppress(OSError):
                member.orders.send(-1, 0, 0.0)
        for member in self._members:
            member.orders.close()
        self._answers.close()
        self._board.close()
