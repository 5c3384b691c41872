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
from covey.platform.jobs.lease import is_held
from covey.platform.jobs.process import is_dead
from covey.platform.jobs.sqlite_store import SqliteStore

_END_S = 60.0


def store_path(home: Path) -> Path:
    """The job store of a COVEY_HOME."""
    return home / "covey.db"


def start_background_scheduler(home: Path, address: str | None = None) -> bool:
    """Start a scheduler that outlives us, unless one holds the lease; says whether it did.

    UserError when the one at work serves another cluster, or no cluster answers at the address.
    """
    store = SqliteStore(store_path(home))
    lease = store.lease()
    store.close()
    if lease is not None and is_held(lease, time.time(), is_dead):
        if address is not None and lease.address != address:
            serves = lease.address or "a local Ray head"
            raise UserError(
                f"a scheduler (process {lease.holder.pid}) is at work for {serves}, not for "
                f"{address}; end it first, or use another COVEY_HOME"
            )
        return False
    if address is not None:
        prepare_libraries()
        from covey.platform.jobs.ray_launcher import JoinedRay

        JoinedRay(address)  # a wrong one is told here, where somebody reads it, and not in a log
    command = [sys.executable, "-m", "covey.platform.jobs.daemon", "--home", str(home)]
    command += ["--address", address] if address is not None else []
    with (home / "scheduler.log").open("ab") as log:
        # The shell in between makes the scheduler nobody's child, so nobody has to wait for it.
        subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            check=True,
        )
    return True


def stop_scheduler(home: Path) -> bool:
    """End the scheduler at work on this machine, wait for its end; says whether there was one.

    UserError when it works on another machine or does not go.
    """
    if not store_path(home).exists():
        return False
    store = SqliteStore(store_path(home))
    lease = store.lease()
    store.close()
    if lease is None or not is_held(lease, time.time(), is_dead):
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
