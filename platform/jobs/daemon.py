"""The scheduler as a process: takes the lease, then turns, and ends when nothing is left to do.

In the background: `python -m covey.platform.jobs.daemon --home DIR [--address URL]`, which
`background.start_background_scheduler` starts; in the foreground: `run_scheduler`, which
`covey scheduler` calls.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

from covey.platform.environment import prepare_libraries, set_covey_home, threads_give_way
from covey.platform.errors import UserError
from covey.platform.jobs.background import store_path
from covey.platform.jobs.elsewhere import refuse_other_cluster
from covey.platform.jobs.executor import Executor
from covey.platform.jobs.job import ACTIVE, UNFINISHED, Job
from covey.platform.jobs.launcher import Launcher
from covey.platform.jobs.lease import Lease, LeaseLost, claim, is_held, release
from covey.platform.jobs.process import identify, is_dead
from covey.platform.jobs.scheduler import Scheduler
from covey.platform.jobs.store import JobStore
from covey.platform.jobs.watch import Limits

IDLE_S = 300.0
POLL_S = 0.5
_MOST_ERRORS = 60
Say = Callable[[str], None]


def run_scheduler(
    home: Path,
    address: str | None = None,
    idle_s: float | None = None,
    say: Say = print,
) -> None:
    """Schedule until SIGTERM or SIGINT; with `idle_s`, only until nothing was to do for so long.

    While another scheduler is at work it waits for that one to go; with `idle_s` it ends instead.
    Running jobs go on after its end, and a local head with them. Raises UserError for an address
    where no cluster answers, or jobs that are still active on another cluster than this one.
    """
    home = home.absolute()
    set_covey_home(home)
    prepare_libraries(own_ray=address is None)
    threads_give_way()
    from covey.platform.jobs.backends import launcher_for, limits_for
    from covey.platform.jobs.sqlite_store import SqliteStore

    stop = threading.Event()
    store = SqliteStore(store_path(home))
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        launcher = launcher_for(address, home, store, say)
        for number in before:
            signal.signal(number, lambda *_: stop.set())
        serve(store, launcher, stop, address or "", idle_s, say, limits_for(address))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        store.close()


def serve(
    store: JobStore,
    launcher: Launcher,
    stop: threading.Event,
    address: str = "",
    idle_s: float | None = None,
    say: Say = print,
    limits: Limits | None = None,
) -> None:
    """Take the lease and then turns, as `run_scheduler` says."""
    waited = False
    while not stop.is_set():
        lease = _take(store, launcher, address)
        if lease is None:
            if not waited:
                say("another scheduler is at work")
            waited = True
            if idle_s is not None:
                break
            stop.wait(POLL_S)
            continue
        say(f"scheduling (process {os.getpid()}, lease {lease.epoch})")
        try:
            executor = Executor(store, launcher, make_run_folder, lease.epoch, say=say)
            _take_turns(Scheduler(executor, limits), stop, idle_s, say)
            launcher.close(leave_running=bool(store.rows(ACTIVE)))
            store.change_lease(partial(release, epoch=lease.epoch))
        except LeaseLost as error:
            say(f"lease lost: {error}")
            continue
        # A client that submitted while we held the lease relied on us: look once more without it.
        if idle_s is not None and not store.rows(UNFINISHED):
            break
    say("scheduler ended")


def _take_turns(
    scheduler: Scheduler, stop: threading.Event, idle_s: float | None, say: Say
) -> None:
    busy_s = time.monotonic()
    errors = 0
    while not stop.is_set():
        try:
            if scheduler.turn():
                busy_s = time.monotonic()
            errors = 0
        except UserError as error:  # a full disk
            errors += 1
            if errors == 1:
                say(str(error))
            if errors == _MOST_ERRORS:
                raise
        if idle_s is not None and time.monotonic() > busy_s + idle_s:
            return
        stop.wait(POLL_S)


def _take(store: JobStore, launcher: Launcher, address: str) -> Lease | None:
    holder = identify(os.getpid())
    last = store.lease()
    if is_held(last, time.time(), is_dead):
        return None
    refuse_other_cluster(store, last, address, launcher.serves)

    def take(lease: Lease | None) -> Lease | None:
        # Nobody may have scheduled, and so started jobs elsewhere, since we looked for them.
        same = lease is None or (last is not None and last.epoch == lease.epoch)
        return claim(lease, holder, address, time.time(), is_dead) if same else None

    return store.change_lease(take)


def make_run_folder(job: Job, job_file: str) -> None:
    """The run folder of a job before its first attempt; later ones find it."""
    from covey.platform.jobfile.load import parse_job_file
    from covey.platform.runs.folder import RunFolder

    path = Path(job.run_dir)
    if not (path / "job.yaml").exists():
        RunFolder.create(path, parse_job_file(json.loads(job_file), path, job.job_id))


def _log(text: str) -> None:
    sys.stdout.write(f"{datetime.now().astimezone().isoformat(timespec='seconds')} {text}\n")
    sys.stdout.flush()


def main() -> int:
    """The background process; what it says goes to COVEY_HOME/scheduler.log."""
    parser = argparse.ArgumentParser(description="Schedule the jobs of a COVEY_HOME.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--address")
    parser.add_argument("--idle-s", type=float, default=IDLE_S)
    arguments = parser.parse_args()
    try:
        run_scheduler(arguments.home, arguments.address, arguments.idle_s, _log)
    except UserError as error:
        _log(str(error))
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
