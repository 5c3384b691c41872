"""Jobs that run on a cluster out of sight are neither given up nor started again."""

import threading
from pathlib import Path

import pytest

from covey.platform.client import Client
from covey.platform.errors import UserError
from covey.platform.jobs.background import store_path
from covey.platform.jobs.daemon import serve
from covey.platform.jobs.job import Job, State
from covey.platform.jobs.launcher import MemoryLauncher, Phase, Sighting
from covey.platform.jobs.lease import Lease
from covey.platform.jobs.process import ProcessIdentity
from covey.platform.jobs.sqlite_store import SqliteStore
from covey.platform.jobs.states import Admitted, Started, apply, new_job
from covey.platform.jobs.store import JobStore

JOB = new_job(Job("a-1", "a", "/runs/a-1", submitted_s=1, max_attempts=3))
THEIRS = "http://127.0.0.1:8265"


def leave_running(store: JobStore, address: str, cluster: str) -> None:
    """What a scheduler for `address` leaves that ended while a job ran on `cluster`."""
    store.add(JOB, "")
    job = store.get("a-1")
    for signal in (Admitted(2, cluster), Started(3)):
        job = store.replace(job, apply(job, signal)[0])
    holder = ProcessIdentity("here", 1, 1.0)
    store.change_lease(lambda lease: Lease(1, holder, address, expires_s=0))


class OneTurn(MemoryLauncher):
    """Ends its scheduler after the first turn."""

    def __init__(self, cluster_id: str) -> None:
        super().__init__(cluster_id=cluster_id)
        if cluster_id == "cluster-1":
            self.sightings["a-1-1"] = Sighting(Phase.RUNNING)
        self.stop_now = threading.Event()

    def is_gone(self, cluster_id: str) -> bool:
        self.stop_now.set()
        return super().is_gone(cluster_id)


def schedule(store: JobStore, address: str, cluster: str) -> int:
    """The attempts there are after the first turn of a scheduler."""
    launcher = OneTurn(cluster)
    serve(store, launcher, launcher.stop_now, address, say=lambda text: None)
    return store.get("a-1").num_attempts


@pytest.mark.parametrize(
    ("theirs", "ours", "advice"),
    [(THEIRS, "", f"covey scheduler --address {THEIRS}"), ("", THEIRS, "covey scheduler")],
)
def test_a_live_job_elsewhere_is_refused_by_name(
    store: JobStore, theirs: str, ours: str, advice: str
):
    leave_running(store, theirs, "cluster-1")
    for _ in range(2):  # the refused scheduler has left no trace
        with pytest.raises(UserError, match=rf"a-1: still active on .*`{advice}` until"):
            schedule(store, ours, "cluster-2")
    assert store.get("a-1").state is State.RUNNING


def test_the_same_cluster_by_another_address_is_taken_over(store: JobStore):
    leave_running(store, THEIRS, "cluster-1")
    assert schedule(store, "localhost:8265", "cluster-1") == 1


def test_another_cluster_at_the_same_address_means_that_the_first_is_gone(store: JobStore):
    leave_running(store, THEIRS, "cluster-1")
    assert schedule(store, THEIRS, "cluster-2") == 2


def test_a_client_is_told_before_anything_starts(tmp_path: Path):
    store = SqliteStore(store_path(tmp_path))
    leave_running(store, THEIRS, "cluster-1")
    store.close()
    with Client(tmp_path) as client, pytest.raises(UserError, match="a-1: still active"):
        client.start_scheduler()
    assert not (tmp_path / "scheduler.log").exists()
