"""Writes checkpoints beside the training: the caller pays for starting a thread, not for the
disk.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread

from covey.platform.errors import Superseded
from covey.platform.runs.checkpoint import Part, write_parts
from covey.platform.runs.fence import Fence
from covey.platform.runs.journal import Journal
from covey.platform.runs.shelf import Shelf, hidden_name, remove


class CheckpointWriter:
    """One checkpoint at a time, on a thread. `failure` is why the newest one could not be
    written.
    """

    def __init__(self, shelf: Shelf, fence: Fence, keep: int, journal: Journal) -> None:
        self._shelf = shelf
        self._fence = fence
        self._keep = keep
        self._journal = journal
        self._thread: Thread | None = None
        self._defect: Exception | None = None
        self.failure: OSError | None = None

    def start(self, step: int, wall_s: float, parts: Mapping[str, Part]) -> None:
        """Begin to write; waits for the one before. Raises what `wait` raises."""
        self.wait()
        self._thread = Thread(target=self._run, args=(step, wall_s, dict(parts)), name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Until nothing is being written. Raises Superseded, or a defect of ours, if the thread
        met one.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._defect is not None:
            defect, self._defect = self._defect, None
            raise defect

    def _run(self, step: int, wall_s: float, parts: Mapping[str, Part]) -> None:
        try:
            self._write(step, wall_s, parts)
        except (
            Exception
        ) as defect:  # a thread has no caller: `wait` raises it in the training's thread
            self._defect = defect

    def _write(self, step: int, wall_s: float, parts: Mapping[str, Part]) -> None:
        begin = time.perf_counter()
        written = self._shelf.staging / hidden_name(step, self._fence.attempt)
        try:
            with self._fence.held():
                remove([written])
                written.mkdir(parents=True)
            size = write_parts(written, step, wall_s, parts)
            self._shelf.publish(written, step, self._keep, self._fence.held)
        except Superseded:
            remove([written])  # the newer attempt cleared up before we had written
            raise
        except OSError as error:
            self._give_up(written, step, error)
            return
        self.failure = None
        took = time.perf_counter() - begin
        message = f"step {step}: {size / 1e6:.1f} MB in {took:.2f} s"
        self._journal.event(
            "checkpoint", message, step=step, size_bytes=size, took_s=round(took, 4)
        )

    def _give_up(self, written: Path, step: int, error: OSError) -> None:
        self.failure = error
        with suppress(OSError), self._fence.held():
            remove([written])
        self._journal.warn(
            "checkpoint-failed",
            f"the checkpoint of step {step} could not be written ({error.strerror}): "
            "training goes on, the one before stays",
            step=step,
        )
