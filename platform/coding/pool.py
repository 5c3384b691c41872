"""The coded worker pool: broadcasts a snapshot, decodes as soon as enough workers have answered."""

import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.platform.coding.board import Board, BoardSpec
from covey.platform.coding.chooser import Chooser
from covey.platform.coding.code import Code, Floats
from covey.platform.coding.exact import Form, byte_code, digest
from covey.platform.coding.stragglers import Injection
from covey.platform.coding.worker import ANSWER, DONE, ORDER, CodedWorker, Tasks
from covey.platform.errors import UserError
from covey.platform.runtime.crew import Crew, Pending, Worker, WorkerLost
from covey.platform.runtime.layout import Layout
from covey.platform.runtime.pipe import Pipe

LOOK_S = 0.25
"""So often the pool looks for workers that died while it waits."""
TELL_AFTER_S, TELL_AGAIN_S = 5.0, 60.0
"""It says whom it waits for after so many seconds, and not again for so many."""
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
        self._late = 0
        self._looked_s = time.monotonic()
        self._told_s = -inf
        self.replaced = 0
        self._members: list[Member] = []
        for index in range(code.workers):
            orders = Pipe.create(ORDER)
            worker = self._spawn(index)
            self._members.append(Member(orders, worker, self._begin(worker, orders)))

    def _spawn(self, index: int) -> Worker:
        nice = self._codes[0].niceness[index]
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
        delays = self.injection.draw(iteration, self.code.workers)
        for member, delay_s in zip(self._members, delays, strict=False):  # a code may need fewer
            member.orders.send(iteration, which, delay_s)
        broadcast = time.perf_counter()
        answers = self._collect(iteration, which, began + limit_s)
        self._board.end(iteration)
        if answers is None:
            return None
        received = list(answers)
        decoding = time.perf_counter()
        values, bound, used = self._decode(received)
        ended = time.perf_counter()
        metrics = {
            "iteration_s": ended - began,
            "broadcast_s": broadcast - began,
            "task_s": float(np.mean(list(answers.values()))),
            "decode_s": ended - decoding,
            "results_used": float(used),
            "results_received": float(len(received)),
            "decode_error_bound": bound,
            "late_results": float(self._late),
        }
        return Outcome(values, metrics, tuple(received), iteration)

    def _collect(self, iteration: int, which: int, end_s: float) -> dict[int, float] | None:
        """The workers whose results are enough, in the order in which they came, with what a task
        took each; None if they were not enough when the time was over (time.perf_counter).
        """
        received: dict[int, float] = {}
        refused: set[int] = set()
        lost: set[int] = set()
        waiting_told = False
        began_s = time.monotonic()
        while not self._form.decodable(list(received)):
            left_s = end_s - time.perf_counter()
            if left_s <= 0:
                return None
            answer = self._answers.receive(min(LOOK_S, left_s))
            if time.monotonic() > self._looked_s + LOOK_S:
                lost |= self._heal(iteration, which)
                if lost and not waiting_told:
                    waiting_told = self._tell_of_waiting(refused | lost - received.keys())
                if not waiting_told and self._looked_s > began_s + TELL_AFTER_S:
                    waiting_told = self._tell_of_late(received)
            if answer is None:
                continue
            worker, status, of_iteration, task_s = answer
            if of_iteration != iteration or worker in received:
                self._late += 1
            elif status == DONE:
                received[worker] = task_s
                self._members[worker].fruitless = 0
            else:
                refused.add(worker)
                self.note("refused", f"coded worker {worker}: its result is not a finite number")
                self._check_hope(refused)
        return received

    def _check_hope(self, refused: set[int]) -> None:
        """Raise UserError if those who may still answer are not enough."""
        others = [worker for worker in range(self.code.workers) if worker not in refused]
        if not self._form.decodable(others):
            named = ", ".join(map(str, sorted(refused)))
            raise UserError(
                f"the results of coded workers {named} are not finite numbers: training diverged"
            )

    def _tell_of_waiting(self, missing: set[int]) -> bool:
        """Say so if those who live are not enough; whether it was said."""
        alive = [worker for worker in range(self.code.workers) if worker not in missing]
        if self._form.decodable(alive):
            return False
        named = ", ".join(map(str, sorted(missing)))
        self.note(
            "waiting",
            f"without coded workers {named} the results are not enough ({self.code.name} can do"
            f" without any {self.code.tolerance}): waiting for others in their place",
        )
        return True

    def _tell_of_late(self, received: Container[int]) -> bool:
        """Say whom it waits for, but not all the time; true."""
        if self._looked_s > self._told_s + TELL_AGAIN_S:
            self._told_s = self._looked_s
            late = [worker for worker in range(self.code.workers) if worker not in received]
            self.note(
                "waiting",
                f"for some of coded workers {', '.join(map(str, late))}: later than"
                f" {TELL_AFTER_S:g} s, and {self.code.name} needs more results",
            )
        return True

    def _heal(self, iteration: int, which: int) -> set[int]:
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
                if index < self.code.workers:
                    member.orders.send(iteration, which, 0.0)  # who died may have died over it
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
