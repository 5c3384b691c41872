"""Run one attempt at a job from its run folder: alike for `covey run` and for a job on a cluster.

As a process of its own, which the scheduler submits:
`python -m covey.platform.driver RUN_DIR --attempt N`, which ends with an `ExitStatus`. Where nobody
of ours submits it, `--job FILE` instead begins a run in that folder, or goes on with it.
"""

import argparse
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from covey.platform.environment import prepare_libraries
from covey.platform.errors import Superseded, UserError
from covey.platform.exit_status import ExitStatus
from covey.platform.jobfile.load import load_job_file
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.metrics import OnReport
from covey.platform.runs.run import STOP_REQUESTED, CheckpointFailed, Run
from covey.platform.runs.stop_request import heeded
from covey.platform.sent_folders import show_code
from covey.platform.workload import Hosted, find_workload


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt ended. `error` is one line for people; None unless it failed."""

    state: str
    exit_status: ExitStatus
    error: str | None = None


def run_attempt(
    path: Path,
    attempt: int | None = None,
    ray_address: str = "local",
    on_report: OnReport | None = None,
    work: Callable[[Run], Mapping[str, float]] | None = None,
) -> AttemptEnd:
    """Claim the run folder, run its workload to the end, write `result.json`.

    `work` is run in the workload's place, for a process that does only a part of a job.

    `attempt` None takes the next number. `ray_address` is "local" for a private Ray, "auto" for the
    cluster this process was submitted to. Raises only what stops it from claiming the folder.
    """
    prepare_libraries(own_ray=ray_address == "local")
    run = Run.claim(path, attempt, ray_address=ray_address, on_report=on_report)
    if run.job.code:
        show_code(run.job.code)
    submitted = ray_address != "local"
    asked = heeded(run.path, run.attempt, run.request_stop) if submitted else nullcontext()
    with _signals_ask_to_stop(run), asked:
        try:
            metrics = (work or find_workload(run.job.workload).run)(run)
            if run.reason == STOP_REQUESTED:
                run.finish("stopped", metrics)
                return AttemptEnd("stopped", ExitStatus.STOPPED)
            run.finish("succeeded", metrics)
            return AttemptEnd("succeeded", ExitStatus.SUCCEEDED)
        except Superseded as error:
            return AttemptEnd("superseded", error.exit_status, str(error))
        except UserError as error:
            return _failed(run, str(error), error.exit_status)
        except CheckpointFailed as error:
            return _failed(run, str(error), ExitStatus.FAILED)
        except SystemExit as error:  # whatever status it names, the workload has not ended in order
            run.event("crash", traceback.format_exc())
            called = f"the job's code called sys.exit({error.code!r})"
            return _failed(run, called, ExitStatus.FAILED)
        except Exception as error:
            run.event("crash", traceback.format_exc())
            story = f"(the whole story: {path / 'log.txt'})"
            return _failed(run, f"{_in_one_line(error)} {story}", ExitStatus.FAILED)


def _failed(run: Run, error: str, exit_status: ExitStatus) -> AttemptEnd:
    try:
        run.finish("failed", {}, error=error)
    except Superseded as superseded:
        return AttemptEnd("superseded", superseded.exit_status, str(superseded))
    return AttemptEnd("failed", exit_status, error)


def _in_one_line(error: Exception) -> str:
    """The error itself: not the source line before it, nor the notes that were added after it."""
    story = traceback.TracebackException.from_exception(error)
    story.__notes__ = None
    *_, line = story.format_exception_only()
    return " ".join(line.split())


@contextmanager
def _signals_ask_to_stop(run: Run) -> Iterator[None]:
    """SIGTERM and SIGINT ask for a last checkpoint; a second SIGINT interrupts at once. Not where
    the run has only a thread of a process: its signals are somebody else's.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and run.stop_requested:
            raise KeyboardInterrupt
        run.request_stop()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _begin_or_go_on(path: Path, file: Path) -> None:
    """Make the run folder, unless it is one of the same job."""
    job = load_job_file(file)
    if not path.exists():
        RunFolder.create(path, job)
    elif RunFolder.open(path).job() != job:
        raise UserError(f"{path} is the run of another job: give this one another name")


def _run_on_cluster(path: Path, attempt: int | None) -> AttemptEnd:
    """Run an attempt on the cluster that this process was submitted to."""
    job = RunFolder.open(path).job()
    workload = find_workload(job.workload)
    bundles = workload.bundles(job) if isinstance(workload, Hosted) else []
    if not bundles:
        return run_attempt(path, attempt, ray_address="auto")
    from covey.platform.hosting import run_hosted

    return run_hosted(path, attempt, bundles)


def main() -> int:
    """The entry point of an attempt on a cluster; what it prints is in the Ray job's log."""
    parser = argparse.ArgumentParser(description="Run one attempt at a job from its run folder.")
    parser.add_argument("run_dir", type=Path)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--attempt", type=int)
    which.add_argument("--job", type=Path)
    arguments = parser.parse_args()
    try:
        if arguments.job is not None:
            _begin_or_go_on(arguments.run_dir, arguments.job)
        end = _run_on_cluster(arguments.run_dir, arguments.attempt)
    except UserError as error:
        end = AttemptEnd("failed", error.exit_status, str(error))
    except OSError as error:  # no room even for result.json
        end = AttemptEnd("failed", ExitStatus.FAILED, f"{error.filename}: {error.strerror}")
    if end.error:
        sys.stderr.write(f"covey: {end.error}\n")
    return end.exit_status


if __name__ == "__main__":
    sys.exit(main())
