"""The coded worker pool: broadcasts a snapshot, decodes as soon as enough workers have answered."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.platform.coding.board import Board, BoardSpec
from covey.platform.coding.chooser import Chooser
from covey.platform.coding.code import Code
from covey.platform.coding.exact import Form, byte_code
from covey.platform.coding.members import Members, Order
from covey.platform.coding.results import decode
from covey.platform.coding.stragglers import Injection
from covey.platform.coding.turns import Turns
from covey.platform.coding.waiting import Patience, Waiting
from covey.platform.coding.worker import ANSWER, DONE, Tasks
from covey.platform.runtime.crew import Crew
from covey.platform.runtime.layout import Layout
from covey.platform.runtime.pipe import Pipe

LOOK_S = 0.25
"""So often the pool looks for workers that died while it waits."""
PATIENT_S = 1.0
"""An iteration that takes longer is one that `meanwhile` is called in."""
SETTLED = 2
"""So many iterations with all workers there come before one that counts for a choice of codes."""


@dataclass(frozen=True)
class Outcome:
    """What an iteration gave: the results of all tasks [M, P] (sum codes: their sum [P])."""

    values: NDArray[Any]
    metrics: dict[str, float]
    received: tuple[int, ...]
    iteration: int
    """Counts from 0, attempts that were given up included."""


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
    meanwhile: Callable[[], None] = lambda: None
    """Called now and then in an iteration that takes long; what it raises ends the iteration."""

    def __post_init__(self) -> None:
        code, codes = self.code, (self.code, *self.others)
        self._codes = codes
        size = self.result.size * 8  # of mixtures in float64
        self._forms: list[Form] = list(codes)
        if self.exact:
            exact = [byte_code(one, self.result.nbytes) for one in codes]
            self._forms, size = list(exact), max(one.sent_bytes for one in exact)
        self._chooser: Chooser | None = None
        if self.others:
            self._chooser = Chooser(list(map(named, codes)), lambda text: self.note("code", text))
        layout = Layout.of(self.template)
        self._board = Board.create(BoardSpec(layout, code.workers, code.tasks, size))
        self._answers = Pipe.create(ANSWER)
        self._iteration = -1
        self._task_s: float | None = None
        self._looked_s = time.monotonic()
        self._patience = Patience()
        self._settled = 0
        self._members = Members(
            self.crew,
            codes,
            lambda index: (self.make_tasks, self._forms, index),
            self._board.handle,
            self._answers.handle,
            self.note,
        )

    @property
    def replaced(self) -> int:
        """Workers in whose place others were put."""
        return self._members.replaced

    def wait_until_started(self) -> None:
        """Return when every worker has begun; who dies before is replaced. None of this is needed
        to iterate: who has not begun is late.
        """
        while True:
            self._members.heal()
            if not self._members.starting():
                return
            self._members.wait(LOOK_S)

    def iterate(self, snapshot: Mapping[str, NDArray[Any]]) -> Outcome:
        """Have all tasks computed from a snapshot. Waits until enough workers have answered."""
        began, replaced = time.perf_counter(), self.replaced
        which, limit_s = (0, inf) if self._chooser is None else self._chooser.next()
        outcome = self._attempt(snapshot, which, limit_s)
        disturbed = self._members.starting() or self.replaced > replaced
        if self._chooser is not None and self._settled >= SETTLED and not disturbed:
            taken_s = inf if outcome is None else time.perf_counter() - began
            self._chooser.took(which, taken_s)
        self._settled = 0 if disturbed else self._settled + 1
        while outcome is None:
            assert self._chooser is not None  # or there is no limit
            which, limit_s = self._chooser.instead(which)
            outcome = self._attempt(snapshot, which, limit_s)
        outcome.metrics["iteration_s"] = time.perf_counter() - began
        return outcome

    def _attempt(
        self, snapshot: Mapping[str, NDArray[Any]], which: int, limit_s: float
    ) -> Outcome | None:
        """One iteration under one of the codes; None if it was given up after so many seconds."""
        began = time.perf_counter()
        self.code, self._form = self._codes[which], self._forms[which]
        self._iteration += 1
        iteration, self._late = self._iteration, 0
        self._board.publish(iteration, snapshot)
        delays_s = self.injection.draw(iteration, self.code.workers)
        self._members.begin(Order(iteration, which, delays_s))
        turns = Turns(self.code, self.cores, self._task_s)
        self._members.give(turns.begin(time.perf_counter()))
        broadcast = time.perf_counter()
        try:
            answers = self._collect(iteration, turns, began + limit_s)
        finally:
            self._board.end(iteration)
        if answers is None:
            return None
        received = list(answers)
        decoding = time.perf_counter()
        found = decode(self._board, self.code, self._form, received, self.result.dtype)
        self._task_s = float(np.mean(list(answers.values())))
        metrics = {
            "broadcast_s": broadcast - began,
            "task_s": self._task_s,
            "decode_s": time.perf_counter() - decoding,
            "results_used": float(found.used),
            "results_received": float(len(received)),
            "decode_error_bound": found.error_bound,
            "late_results": float(self._late),
        }
        return Outcome(found.values, metrics, tuple(received), iteration)

    def _collect(self, iteration: int, turns: Turns, end_s: float) -> dict[int, float] | None:
        """The workers whose results are enough, in the order in which they came, with what a task
        took each; None if they were not enough when the time was over (time.perf_counter).
        """
        received: dict[int, float] = {}
        waiting = Waiting(self.code, self._form, self.note, self._patience, time.monotonic())
        while not self._form.decodable(list(received)):
            now_s = time.perf_counter()
            if now_s >= end_s:
                return None
            self._members.give(turns.due(now_s))
            answer = self._answers.receive(min(LOOK_S, end_s - now_s, turns.next_s(now_s) - now_s))
            self._look(waiting, received)
            if answer is None:
                continue
            worker, status, of_iteration, task_s = answer
            if of_iteration != iteration or worker in received:
                self._late += 1
                continue
            turns.answered(worker)
            if status == DONE:
                received[worker] = task_s
            else:
                waiting.refuse(worker)
        return received

    def _look(self, waiting: Waiting, received: Mapping[int, float]) -> None:
        """After those who died, now and then."""
        now_s = time.monotonic()
        if now_s < self._looked_s + LOOK_S:
            return
        self._looked_s = now_s
        waiting.lost |= self._members.heal()
        waiting.look(received, self._members.missing(), now_s)
        if now_s > waiting.began_s + PATIENT_S:
            self.meanwhile()

    def close(self) -> None:
        """Tell all workers to end; let go of the channels."""
        self._board.end(2**62)
        self._members.close()
        self._answers.close()
        self._board.close()


def named(code: Code) -> str:
    """As a choice among codes tells them apart."""
    tolerates = f" (tolerates {code.tolerance})" if code.sums else ""
    return f"{code.name} of {code.workers}{tolerates}"
