"""An attempt of a job whose workers share memory, on a cluster: it runs beside the learner, on
whatever node that is, and this process only waits for it.
"""

import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from covey.platform.driver import AttemptEnd, run_attempt
from covey.platform.environment import prepare_libraries, threads_give_way
from covey.platform.exit_status import ExitStatus
from covey.platform.jobfile.model import Resources
from covey.platform.runs.run import STOP_REQUESTED, Run
from covey.platform.runtime.actor import Remote, results, start_actor
from covey.platform.runtime.crew import WorkerLost
from covey.platform.runtime.ray_cluster import (
    StartInterrupted,
    connect,
    keeping_signal_handlers,
    place,
)
from covey.platform.workload import find_workload

LOOK_S = 0.2


class Host:
    """Lives beside the learner. Answers calls in threads, so that it can be told to stop while it
    trains.
    """

    def __init__(self) -> None:
        threads_give_way()
        self._running: Run | None = None
        self._stop_requested = False

    def run(self, path: Path, attempt: int | None) -> AttemptEnd:
        """What the driver would do. Raises what stops it from claiming the folder."""
        return run_attempt(path, attempt, ray_address="auto", work=self._train)

    def stop(self) -> None:
        """Ask it to end, with a checkpoint."""
        self._stop_requested = True
        if self._running is not None:
            self._running.request_stop()

    def _train(self, run: Run) -> Mapping[str, float]:
        self._running = run
        if self._stop_requested:
            run.request_stop()
        return find_workload(run.job.workload).run(run)


class Stop:
    """Whether SIGTERM or SIGINT has come."""

    requested = False

    def ask(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True


def run_hosted(
    path: Path, attempt: int | None, bundles: Sequence[Mapping[str, float]]
) -> AttemptEnd:
    """Run it in the last of the bundles, once there is room for all of them."""
    with _listening() as stop:
        try:
            with _room(bundles, stop) as group:
                return _run_in(group, path, attempt, stop)
        except (StartInterrupted, futures.CancelledError):
            return AttemptEnd("stopped", ExitStatus.STOPPED, STOP_REQUESTED)


def _run_in(group: Any, path: Path, attempt: int | None, stop: Stop) -> AttemptEnd:
    last = len(group.bundle_specs) - 1
    host = start_actor("host", group, last, {}, Host, calls=2)
    running = host.submit("run", path, attempt)
    assert isinstance(running, Remote)
    told = False
    while not futures.wait([running.answer], LOOK_S).done:
        if stop.requested and not told:
            host.submit("stop")
            told = True
    try:
        (end,) = results([running], lambda _: "the job's process")
    except WorkerLost:
        lost = "the learner's node, or the job's process there, was lost"
        return AttemptEnd("failed", ExitStatus.FAILED, lost)
    assert isinstance(end, AttemptEnd)
    return end


@contextmanager
def _room(bundles: Sequence[Mapping[str, float]], stop: Stop) -> Iterator[Any]:
    """A placement group on the cluster that this process was submitted to. See `place`."""
    prepare_libraries()
    import ray
    from ray.util.placement_group import remove_placement_group

    with keeping_signal_handlers():
        connect(Resources(), "auto")
    try:
        group = place([dict(bundle) for bundle in bundles], lambda: stop.requested)
        try:
            yield group
        finally:
            remove_placement_group(group)
    finally:
        ray.shutdown()


@contextmanager
def _listening() -> Iterator[Stop]:
    stop = Stop()
    before = {number: signal.signal(number, stop.ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
