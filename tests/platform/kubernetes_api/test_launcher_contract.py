"""What the scheduler relies on of every launcher: in memory, on Kubernetes, on a Ray head."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from kube_place import ADDRESS, Place, begun, until

from covey.platform.client import Client
from covey.platform.environment import prepare_libraries, set_covey_home
from covey.platform.jobs.backends import launcher_for
from covey.platform.jobs.background import store_path
from covey.platform.jobs.daemon import make_run_folder
from covey.platform.jobs.launcher import Launcher, MemoryLauncher, Phase, Start, Unreachable
from covey.platform.jobs.outcome import judge, result_of
from covey.platform.jobs.sqlite_store import SqliteStore


@dataclass
class Backend:
    """A launcher with a cluster that is up; `becomes` waits for a phase, or brings it about."""

    launcher: Launcher
    client: Client
    becomes: Callable[[Start, Phase], None]
    is_real: bool = True

    def start(self, job: dict[str, object]) -> Start:
        job_id = self.client.submit(job)
        record = self.client.show(job_id)
        make_run_folder(record, self.client._store.job_file(job_id))
        return Start(f"{job_id}-1", record.run_dir, 1, grace_s=60)

    def submit(self, start: Start) -> None:
        """As a scheduler does: a cluster that does not take it yet is asked again."""

        def is_taken() -> bool:
            try:
                self.launcher.submit(start)
            except Unreachable:
                return False
            return True

        until(is_taken)


def waiting_for(launcher: Launcher) -> Callable[[Start, Phase], None]:
    def becomes(start: Start, phase: Phase) -> None:
        def is_it() -> bool:
            sighting = launcher.look(start.submission_id)
            return sighting is not None and sighting.phase is phase

        until(is_it, lambda: launcher.look(start.submission_id))

    return becomes


@pytest.fixture(
    params=[
        "memory",
        "kubernetes",
        pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.slow]),
    ]
)
def backend(request: pytest.FixtureRequest, own_environment, tmp_path) -> Iterator[Backend]:
    if request.param == "memory":
        memory = MemoryLauncher()
        with Client(tmp_path) as client:
            yield Backend(
                memory, client, lambda start, phase: memory.play(start.submission_id, phase), False
            )
        return
    if request.param == "kubernetes":
        place: Place = request.getfixturevalue("place")
        launcher = launcher_for(ADDRESS, place.home, place.client._store)
        yield Backend(launcher, place.client, waiting_for(launcher))
        launcher.close(leave_running=False)
        return
    home, launcher = request.getfixturevalue("ray_head")
    with Client(home) as client:
        yield Backend(launcher, client, waiting_for(launcher))


@pytest.fixture(scope="module")
def ray_head(
    toy_path: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Launcher]]:
    """One for all its tests: a process knows one token only. Its workers find the toy."""
    before = dict(os.environ)
    home = tmp_path_factory.mktemp("ray")
    set_covey_home(home)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [toy_path, before.get("PYTHONPATH")]))
    prepare_libraries(own_ray=True)
    store = SqliteStore(store_path(home))
    launcher = launcher_for(None, home, store)
    until(launcher.cluster)
    yield home, launcher
    head = launcher._head._child
    launcher.close(leave_running=False)
    head.wait()
    store.close()
    os.environ.clear()
    os.environ.update(before)


def test_a_cluster_is_known_by_its_id(backend):
    cluster = backend.launcher.cluster()
    assert cluster.total.cpus > 0
    assert backend.launcher.serves(cluster.cluster_id)
    assert not backend.launcher.is_gone(cluster.cluster_id)
    assert not backend.launcher.serves("another")
    assert backend.launcher.is_gone("another")


def test_an_attempt_is_started_once_and_asked_to_end(backend, toy_job, tmp_path):
    start = backend.start({**toy_job, "toy": {"wait_for": str(tmp_path / "never")}})
    assert backend.launcher.look(start.submission_id) is None
    backend.submit(start)
    backend.submit(start)
    backend.becomes(start, Phase.RUNNING)
    backend.submit(start)
    if not backend.is_real:
        assert backend.launcher.started == {start.submission_id: 1}
        return
    job = backend.client.show(start.submission_id.rpartition("-")[0])
    until(lambda: (Path(start.run_dir) / "checkpoints" / "latest").exists())
    backend.launcher.stop(start.submission_id)
    until(lambda: backend.launcher.look(start.submission_id).phase is not Phase.RUNNING)
    assert begun(job) == ["1 from 0"]
    sighting = backend.launcher.look(start.submission_id)
    verdict = judge(sighting, result_of(Path(start.run_dir), 1), "", stop_requested=True)
    assert verdict.result == "stopped"


def test_what_a_driver_said_is_kept_when_it_failed(backend, toy_job):
    if not backend.is_real:
        pytest.skip("nothing runs there")
    start = backend.start({**toy_job, "toy": {"trouble": "mistake"}})
    backend.submit(start)
    backend.becomes(start, Phase.FAILED)
    sighting = backend.launcher.look(start.submission_id)
    assert sighting.exit_status == 2
    assert "a mistake was asked for" in backend.launcher.output(start.submission_id)
