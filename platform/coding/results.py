"""What workers have sent, made into the results of all tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.platform.coding.board import Board
from covey.platform.coding.code import Code
from covey.platform.coding.exact import ByteCode, Form, digest
from covey.platform.coding.product import Floats


@dataclass(frozen=True)
class Results:
    """Of all tasks [M, P] (sum codes: their sum [P]), with a bound of their error, and how many of
    what was sent were used.
    """

    values: NDArray[Any]
    error_bound: float
    used: int


def decode(
    board: Board, code: Code, form: Form, received: Sequence[int], dtype: np.dtype[Any]
) -> Results:
    """From what these workers sent. `form` is the code, or what stands for it over bytes; `dtype`
    that of a task's result.
    """
    if isinstance(form, Code):
        sent: dict[int, Floats] = {w: board.sent[w].view(np.float64) for w in received}
        decoded = form.decode_with_bound(sent)
        return Results(decoded.values, decoded.error_bound, decoded.results_used)
    return decode_exact(board, code, form, received, dtype)


def decode_exact(
    board: Board, code: Code, form: ByteCode, received: Sequence[int], dtype: np.dtype[Any]
) -> Results:
    """As `decode`, over bytes."""
    blobs = form.decode({w: board.sent[w][: form.sent_bytes].data for w in received})
    check_digests(board, code, blobs, received)
    values = [np.frombuffer(blob, dtype=dtype) for blob in blobs]
    return Results(np.stack(values), 0.0, len(form.chosen(received)))


def check_digests(board: Board, code: Code, blobs: Sequence[Any], received: Sequence[int]) -> None:
    """RuntimeError, which names the worker, if somebody computed something else."""
    for task, blob in enumerate(blobs):
        wanted = np.frombuffer(digest(blob), dtype=np.uint8)
        for worker in received:
            told = board.digests[worker][task]
            if task in code.tasks_of(worker) and not np.array_equal(told, wanted):
                raise RuntimeError(
                    f"coded worker {worker} has another result of task {task} than was decoded:"
                    " its tasks do not give the same bits everywhere"
                )
