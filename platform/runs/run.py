"""One attempt at a job, as its workload sees it: restore, report, checkpoint, stop.

run = Run.claim(path)
checkpoint = run.restore()
run.started()
while run.stop_reason(step, metrics) is None:
    ...                                   # train, then run.report(step, metrics)
    if run.checkpoint_due(step):
        run.checkpoint(step, parts)
run.checkpoint(step, parts)
run.finish("succeeded", metrics)
"""

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from covey.platform.errors import Superseded, UserError
from covey.platform.jobfile.model import JobFile
from covey.platform.runs.appender import end_at_last_line
from covey.platform.runs.checkpoint import Checkpoint, Damaged, Part, check_parts
from covey.platform.runs.durable import LEFTOVER, write_whole
from covey.platform.runs.fence import Fence, live_writer
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.journal import Journal
from covey.platform.runs.metrics import OnReport, finite, trim_metrics
from covey.platform.runs.place import claim_place, shelf_of
from covey.platform.runs.result import FinalState, Result
from covey.platform.runs.shelf import settle
from covey.platform.runs.stopping import is_due, reached
from covey.platform.runs.tensors import Arrays
from covey.platform.runs.writer import CheckpointWriter

__all__ = [
    "STOP_REQUESTED",
    "Arrays",
    "Checkpoint",
    "CheckpointFailed",
    "Part",
    "Run",
    "live_writer",
]

STOP_REQUESTED = "stop requested"
PICTURE = re.compile(r"[a-z0-9][a-z0-9_-]*\.(png|gif)")
TABLE = re.compile(r"(?!(?:result|attempt)\.)[a-z0-9][a-z0-9_-]*\.json")


class CheckpointFailed(Exception):
    """The training has ended, but its final state could not be written."""


class Run:
    """The right to write into a run folder, and all that a workload does with one.

    Every method that writes raises Superseded once a newer attempt has claimed the folder. One
    thread uses it; only `event` may be called from several, and `request_stop` from a signal
    handler.
    """

    def __init__(
        self,
        folder: RunFolder,
        job: JobFile,
        fence: Fence,
        ray_address: str,
        on_report: OnReport | None,
        clock: Callable[[], float],
    ) -> None:
        self.job = job
        self.path = folder.path
        self.attempt = fence.attempt
        self.ray_address = ray_address
        self.reason: str | None = None
        """What `stop_reason` said last."""
        self.draws = True
        """Whether its end is drawn: not where it is a part of another run, which would wait."""
        self._folder = folder
        self._fence = fence
        self._on_report = on_report
        self._clock = clock
        self._journal = Journal(folder, fence)
        self._shelf = shelf_of(folder.checkpoints, fence.attempt)
        self._writer = CheckpointWriter(self._shelf, fence, job.checkpoint.keep, self._journal)
        self._stop_requested = False
        self._step = 0
        self._metrics: dict[str, float] = {}
        self._picture_refused = ""
        self._earlier_s = 0.0
        self._started_at: float | None = None
        self._checkpoint_step = 0
        self._checkpoint_at = clock()

    @classmethod
    def claim(
        cls,
        path: Path,
        attempt: int | None = None,
        ray_address: str = "local",
        on_report: OnReport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Begin an attempt (None: the next number) and clear up after a killed one.

        From then on no older attempt can write. Raises Superseded when the folder has seen that
        number or a later one, UserError when it is no run folder. `clock` counts seconds.
        """
        folder = RunFolder.open(path.absolute())
        job = folder.job()
        other = live_writer(folder.path)
        fence = Fence.claim(folder.path, attempt)
        with fence.held():
            folder.checkpoints.mkdir(exist_ok=True)
            settle(folder.checkpoints)
            claim_place(folder.checkpoints, job)
            folder.result.unlink(missing_ok=True)
            for kind in ("png", "gif", "json"):
                for picture in folder.path.glob(f".*.{kind}.*{LEFTOVER}"):
                    picture.unlink()
            for file in (folder.metrics, folder.events, folder.log):
                end_at_last_line(file)
        run = cls(folder, job, fence, ray_address, on_report, clock)
        run.event("attempt", f"attempt {fence.attempt} of {job.name} begins")
        if other is not None:
            run._journal.warn(
                "superseded", f"process {other} still ran an older attempt: it can write no more"
            )
        return run

    def restore(self) -> Checkpoint | None:
        """The newest whole checkpoint to go on from; None when training begins at the beginning.

        Metrics of steps after it are dropped, the training clock goes on from where it stood.
        Raises UserError for a place that the job cannot have, OSError for a store that is down.
        """
        self._writer.wait()  # one that is under way is a leftover to `settle`
        damaged: list[Damaged] = []
        self._shelf.settle(self._fence.held)
        checkpoint = self._shelf.newest_whole(damaged.append)
        step = checkpoint.step if checkpoint else -1
        for found in damaged:
            self._shelf.set_aside(found, self._fence.held)
        with self._fence.held():
            trim_metrics(self._folder.metrics, step)
        where = f"step {step}" if checkpoint else "the beginning"
        for found in damaged:
            self._journal.warn(
                "damaged-checkpoint", f"{found}: going on from {where}", file=found.file
            )
        self._journal.begin_at(step + 1)
        if checkpoint is not None:
            self._step = self._checkpoint_step = step
            self._earlier_s = checkpoint.wall_s
            self.event("restored", f"goes on from {where}", step=step)
        return checkpoint

    def started(self) -> None:
        """Start the training clock: call it when everything is set up and training proper
        begins.
        """
        self._started_at = self._checkpoint_at = self._clock()

    @property
    def wall_s(self) -> float:
        """Seconds of training up to now, with earlier attempts' as far as their checkpoints
        reach.
        """
        if self._started_at is None:
            return self._earlier_s
        return self._earlier_s + self._clock() - self._started_at

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        """Tell where training stands. What is not finite is left out (and said once)."""
        kept = self._journal.report(step, self.wall_s, metrics)
        self._step = step
        self._metrics = kept
        if self._on_report is not None:
            self._on_report(step, kept)

    def event(self, kind: str, message: str, **fields: object) -> None:
        """Note something that happened, for `events.jsonl` and `log.txt`."""
        self._journal.event(kind, message, **fields)

    def picture(self, name: str, data: bytes) -> None:
        """Put a picture (`*.png` or `*.gif`) into the run folder, in the place of an older one. A
        disk that refuses is noted once, not raised.
        """
        if PICTURE.fullmatch(name) is None:
            raise ValueError(f"{name!r} is no name for a picture in a run folder")
        self._put(name, data)

    def table(self, name: str, data: bytes) -> None:
        """Put a table (`*.json`) into the run folder, as `picture` does; result.json and
        attempt.json are taken.
        """
        if TABLE.fullmatch(name) is None:
            raise ValueError(f"{name!r} is no name for a table in a run folder")
        self._put(name, data)

    def _put(self, name: str, data: bytes) -> None:
        with self._fence.held():
            try:
                write_whole(self.path / name, data, lasting=False)
            except OSError as error:
                refused = error.strerror or str(error)
            else:
                self._picture_refused = ""
                return
        if refused != self._picture_refused:
            self._picture_refused = refused
            self._journal.warn("no-picture", f"{name} cannot be written: {refused}")

    def checkpoint_due(self, step: int) -> bool:
        """Whether the job file asks for a checkpoint now; never twice for one step."""
        since_last_s = self._clock() - self._checkpoint_at
        return is_due(self.job.checkpoint, step, self._checkpoint_step, since_last_s)

    def checkpoint(self, step: int, parts: Mapping[str, Part]) -> None:
        """Write a checkpoint in the background; first waits until the one before is written.

        `parts` maps file names to named arrays (`*.safetensors`) or to bytes (any other name).
        The arrays must be the caller's copies: they are read until the next call. A disk that
        refuses is noted, not raised.
        """
        check_parts(parts)
        with self._fence.held():
            self._step = self._checkpoint_step = step
            self._checkpoint_at = self._clock()
        self._writer.start(step, self.wall_s, parts)

    def stop_reason(self, step: int, metrics: Mapping[str, float]) -> str | None:
        """Why training ends at `step`; None while it goes on. Leaves the same in `reason`."""
        self.reason = reached(self.job, step, metrics, self.wall_s)
        if self.reason is None and self._stop_requested:
            self.reason = STOP_REQUESTED
        return self.reason

    @property
    def stop_requested(self) -> bool:
        """Whether somebody asked the run to end early; `stop_reason` says so too."""
        return self._stop_requested

    def request_stop(self) -> None:
        """Ask the run to end with a last checkpoint. Sets a flag only, so a signal handler may
        call it.
        """
        self._stop_requested = True

    def finish(
        self, state: FinalState, metrics: Mapping[str, float], error: str | None = None
    ) -> None:
        """End the attempt: the last checkpoint is on the disk, `result.json` and the pictures are
        written.

        Raises CheckpointFailed when the final state of a run that did not fail could not be
        written; `finish` may then be called again with "failed".
        """
        self._wait_for_writer(state)
        kept, _ = finite(metrics)
        result = Result(
            state=state,
            reason=self.reason,
            error=error,
            run_dir=str(self.path),
            step=self._step,
            metrics=kept or self._metrics,
            wall_s=self.wall_s,
            attempt=self.attempt,
        )
        self.event("finished", f"{state} at step {self._step}: {error or self.reason or 'done'}")
        self._journal.flush()
        with self._fence.held():
            write_whole(self._folder.result, result.encode())
        if self.draws:
            self.draw_pictures()
        self._fence.release()

    def _wait_for_writer(self, state: FinalState) -> None:
        try:
            self._writer.wait()
        except Superseded:
            raise
        except Exception as defect:
            if state != "failed":
                raise
            self.event("crash", f"writing a checkpoint: {defect!r}")
        failure = self._writer.failure
        if failure is not None and state != "failed":
            raise CheckpointFailed(f"the final checkpoint could not be written: {failure.strerror}")

    def draw_pictures(self) -> bool:
        """Draw what `covey plot` does. Whether it could be: why not is noted, not raised."""
        from covey.platform.runs.plots import draw_pictures

        try:
            with self._fence.held():
                draw_pictures(self.path)
        except Superseded:
            raise
        except UserError:  # a run without metrics has no curves
            return False
        except Exception as defect:  # a picture is not worth a finished run
            self._journal.warn("no-curves", f"the pictures could not be drawn: {defect!r}")
            return False
        return True
