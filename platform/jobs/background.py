"""Start and end the scheduler in the background: all that a client needs of it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from covey.platform.environment import prepare_libraries
from covey.platform.errors import UserError
from covey.platform.jobs.elsewhere import name_of, refuse_other_cluster
from covey.platform.jobs.lease import Lease, is_held
from covey.platform.jobs.process import is_dead
from covey.platform.jobs.sqlite_store import SqliteStore

_END_S = 60.0


def store_path(home: Path) -> Path:
    """The job store of a COVEY_HOME."""
    return home / "covey.db"


def start_background_scheduler(home: Path, address: str | None = None) -> bool:
    """Start a scheduler that outlives us, unless one holds the lease; says whether it did.

    UserError when the one at work serves another cluster, no cluster answers at the address, or
    jobs are still active on another cluster.
    """
    store = SqliteStore(store_path(home))
    try:
        lease = store.lease()
        if lease is not None and is_held(lease, time.time(), is_dead):
            if address is not None and lease.address != address:
                raise UserError(
                    f"a scheduler (process {lease.holder.pid}) is at work for "
                    f"{name_of(lease.address)}, not for {name_of(address)}; end it first, or use "
                    "another COVEY_HOME"
                )
            return False
        _check(store, lease, home, address)
    finally:
        store.close()
    _launch(home, address)
    return True


def revive_scheduler(home: Path) -> bool:
    """Start a scheduler for the cluster that the last one served, unless one is at work."""
    store = SqliteStore(store_path(home))
    try:
        lease = store.lease()
    finally:
        store.close()
    return start_background_scheduler(home, (lease.address or None) if lease else None)


def _check(store: SqliteStore, lease: Lease | None, home: Path, address: str | None) -> None:
    """What the scheduler itself would refuse, told here, where somebody reads it."""
    from covey.platform.jobs.backends import launcher_for

    prepare_libraries(own_ray=address is None)
    launcher = launcher_for(address, home, store)
    refuse_other_cluster(store, lease, address or "", launcher.serves)


def _launch(home: Path, address: str | None) -> None:
    # -P and the folder of its own: a user's secrets.py where `covey` is called is not ours.
    command = [sys.executable, "-P", "-m", "covey.platform.jobs.daemon", "--home", str(home)]
    command += ["--address", address] if address is not None else []
    with (home / "scheduler.log").open("ab") as log:
        # The shell in between makes the scheduler nobody's child, so nobody has to wait for it.
        subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", *command],
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            check=True,
        )


def at_work(home: Path) -> Lease | None:
    """The lease of the scheduler that is at work, and has renewed it not long ago."""
    if not store_path(home).exists():
        return None
    store = SqliteStore(store_path(home))
    lease = store.lease()
    store.close()
    return lease if is_held(lease, time.time(), is_dead) else None


def stop_scheduler(home: Path) -> bool:
    """End the scheduler at work on this machine, wait for its end; says whether there was one.

    UserError when it works on another machine or does not go.
    """
    lease = at_work(home)
    if lease is None:
        return False
    if lease.holder.host != socket.gethostname():
        raise UserError(f"the scheduler works on {lease.holder.host}: end it there")
    os.kill(lease.holder.pid, signal.SIGTERM)
    deadline_s = time.monotonic() + _END_S
    while not is_dead(lease.holder):
        if time.monotonic() > deadline_s:
            raise UserError(
                f"the scheduler (process {lease.holder.pid}) has not ended in {_END_S:g} s"
            )
        time.sleep(0.1)
    return True
