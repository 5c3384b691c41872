"""A coded worker: computes the tasks of its row of the assignment matrix, sends their mixture."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from covey.platform.coding.board import Board, BoardHandle
from covey.platform.coding.code import Code
from covey.platform.coding.exact import Form, digest
from covey.platform.coding.stragglers import CRASH
from covey.platform.runtime.fence import fence
from covey.platform.runtime.memory import keep_freed_memory
from covey.platform.runtime.pipe import Pipe, PipeHandle
from covey.platform.runtime.threads import one_blas_thread

ORDER = "<qqd"
"""Iteration (-1: end), which code, and for how long to sit on the result (CRASH: die instead)."""
ANSWER = "<iiqd"
"""Worker, status, iteration, and seconds of a core that each of its tasks took."""
DONE, NOT_FINITE = range(2)
LOOK_S = 0.5


class Tasks(Protocol):
    """What is computed. Every result is one float array [P], a pure function of its arguments."""

    def compute(self, snapshot: Mapping[str, Any], task: int) -> NDArray[Any]:
        """The result of one task from a snapshot, which stays as it is."""


def stand_back(niceness: int) -> None:
    """Let others go before this thread, as far as it does not do so already. For Linux, where a
    thread has a niceness of its own.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        before = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, max(before, niceness))


class CodedWorker:
    """Number `index` of the workers of some codes."""

    def __init__(
        self, make_tasks: Callable[[], Tasks], codes: Sequence[Form], index: int, niceness: int = 0
    ) -> None:
        one_blas_thread()  # the last bits would depend on how many there are
        keep_freed_memory()
        self._tasks = make_tasks()
        self._codes, self._index, self._niceness = codes, index, niceness

    def connect(self, board: BoardHandle, orders: PipeHandle, answers: PipeHandle) -> None:
        """Open this process's ends of the channels."""
        self._board: Board = board.attach()
        self._orders: Pipe = orders.attach()
        self._answers: Pipe = answers.attach()

    def run(self) -> None:
        """Follow orders until told to end."""
        stand_back(self._niceness)
        while True:
            order = self._orders.receive(LOOK_S)
            if order is None:
                continue
            iteration, which, delay_s = order
            if iteration < 0:
                return
            if not self._wanted(iteration):
                continue
            if delay_s == CRASH:
                os.kill(os.getpid(), signal.SIGKILL)
            else:
                self._work(iteration, self._codes[which], delay_s)

    def _wanted(self, iteration: int) -> bool:
        return iteration > self._board.over

    def _work(self, iteration: int, code: Form, delay_s: float) -> None:
        began = time.thread_time()
        results: dict[int, NDArray[Any]] = {}
        snapshot = self._board.snapshot(iteration)
        for task in code.tasks_of(self._index):
            if not self._wanted(iteration):
                return
            results[task] = self._tasks.compute(snapshot, task)
        finite = all(np.isfinite(result).all() for result in results.values())
        if finite:
            self._put(results, code)
        task_s = (time.thread_time() - began) / max(1, len(results))
        if delay_s > 0:
            self._orders.waits(delay_s)  # the next order ends it
        if self._wanted(iteration):
            fence()
            self._answers.send(self._index, DONE if finite else NOT_FINITE, iteration, task_s)

    def _put(self, results: Mapping[int, NDArray[Any]], code: Form) -> None:
        sent = self._board.sent[self._index]
        if isinstance(code, Code):
            mixture = code.encode(self._index, results)
            np.copyto(sent.view(np.float64), mixture)
            return
        blobs = {task: result.data.cast("B") for task, result in results.items()}
        sent[: code.sent_bytes] = np.frombuffer(code.encode(self._index, blobs), dtype=np.uint8)
        for task, blob in blobs.items():
            own = np.frombuffer(digest(blob), dtype=np.uint8)
            self._board.digests[self._index][task] = own
