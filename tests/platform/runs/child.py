"""Processes that the tests kill or supersede; they answer on standard output, a line each time.

`loop RUN_DIR`: for each line of input, a forked process claims the folder and checkpoints
without end.
`hold RUN_DIR`: claims the folder, then reports and checkpoints once for each line of input.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from covey.platform.errors import Superseded
from covey.platform.runs.run import Run


def attempt(path: Path) -> None:
    run = Run.claim(path)
    checkpoint = run.restore()
    step = checkpoint.step if checkpoint else 0
    run.started()
    while True:
        step += 1
        run.report(step, {"loss": 1 / step})
        weights = np.full(20_000, step, np.float32)
        run.checkpoint(step, {"model.safetensors": {"weights": weights}, "state.json": b"{}"})


def loop(path: Path) -> None:
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            attempt(path)
        print(pid, flush=True)
        os.waitpid(pid, 0)
        print("dead", flush=True)


def hold(path: Path) -> None:
    run = Run.claim(path)
    print("claimed", flush=True)
    for number, _ in enumerate(sys.stdin, start=1):
        writes: list[Callable[[], object]] = [
            lambda number=number: run.report(number, {"loss": 1.0}),
            lambda: run.event("note", "still here"),
            lambda number=number: run.checkpoint(number, {"state.json": b"{}"}),
            lambda: run.finish("succeeded", {}),
        ]
        answers = []
        for write in writes[: 4 if number > 1 else 3]:
            try:
                write()
                answers.append("written")
            except Superseded:
                answers.append("superseded")
        print(*answers, flush=True)


{"loop": loop, "hold": hold}[sys.argv[1]](Path(sys.argv[2]))
