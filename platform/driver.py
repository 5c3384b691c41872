"""Run one attempt at a job from its run folder: alike for `covey run` and for a job on a cluster.

As a process of its own, which the scheduler submits:
`python -m covey.platform.driver RUN_DIR --attempt N`. Exit status: 0 succeeded, 1 failed, 2 a
user's mistake (not tried again), 3 superseded by a newer attempt, 4 stopped on request after its
last checkpoint was written.
"""

import argparse
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from covey.platform.environment import prepare_libraries
from covey.platform.errors import Superseded, UserError
from covey.platform.runs.run import STOP_REQUESTED, CheckpointFailed, Run
from covey.platform.workload import find_workload

FAILED, STOPPED = 1, 4


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended. `error` is one line for people; None unless it failed."""

    state: str
    exit_status: int
    error: str | None = None


def run_attempt(
    path: Path,
    attempt: int | None = None,
    ray_address: str = "local",
    on_report: Callable[[int, Mapping[str, float]], None] | None = None,
) -> Outcome:
    """Claim the run folder, run its workload to the end, write `result.json`.

    `attempt` None takes the next number. `ray_address` is "local" for a private Ray, "auto" for the
    cluster this process was submitted to. Raises only what stops it from claiming the folder.
    """
    prepare_libraries()
    run = Run.claim(path, attempt, ray_address=ray_address, on_report=on_report)
    if run.job.code and run.job.code not in sys.path:
        sys.path.insert(0, run.job.code)
    with _signals_ask_to_stop(run):
        try:
            metrics = find_workload(run.job.workload).run(run)
            if run.reason == STOP_REQUESTED:
                run.finish("stopped", metrics)
                return Outcome("stopped", STOPPED)
            run.finish("succeeded", metrics)
            return Outcome("succeeded", 0)
        except Superseded as error:
            return Outcome("superseded", error.exit_status, str(error))
        except UserError as error:
            return _failed(run, str(error), error.exit_status)
        except CheckpointFailed as error:
            return _failed(run, str(error), FAILED)
        except Exception as error:
            run.event("crash", traceback.format_exc())
            line = " ".join(traceback.format_exception_only(error)[-1].split())
            return _failed(run, f"{line} (the whole story: {path / 'log.txt'})", FAILED)


def _failed(run: Run, error: str, exit_status: int) -> Outcome:
    try:
        run.finish("failed", {}, error=error)
    except Superseded as superseded:
        return Outcome("superseded", superseded.exit_status, str(superseded))
    return Outcome("failed", exit_status, error)


@contextmanager
def _signals_ask_to_stop(run: Run) -> Iterator[None]:
    """SIGTERM and SIGINT ask for a last checkpoint; a second SIGINT interrupts at once."""

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


def main() -> int:
    """The entry point of an attempt on a cluster; what it prints is in the Ray job's log."""
    parser = argparse.ArgumentParser(description="Run one attempt at a job from its run folder.")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--attempt", type=int, required=True)
    arguments = parser.parse_args()
    try:
        outcome = run_attempt(arguments.run_dir, arguments.attempt, ray_address="auto")
    except UserError as error:
        outcome = Outcome("failed", error.exit_status, str(error))
    except OSError as error:  # no room even for result.json
        outcome = Outcome("failed", FAILED, f"{error.filename}: {error.strerror}")
    if outcome.error:
        sys.stderr.write(f"covey: {outcome.error}\n")
    return outcome.exit_status


if __name__ == "__main__":
    sys.exit(main())
