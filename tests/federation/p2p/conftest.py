"""What the tests of peers share: peers and wires that are closed at the end of a test; checking a
job, making its run folder, running it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from job_process import JobProcess
from local_peers import LocalPeers
from loopback import Peers, Wire
from peer_jobs import PeerRun, peer_job

from covey.platform.driver import run_attempt
from covey.platform.jobfile.load import parse_job_file
from covey.platform.jobfile.model import JobFile
from covey.platform.runs.folder import RunFolder


@pytest.fixture
def parse(tmp_path: Path) -> Callable[..., JobFile]:
    """The job that `peer_job(...)` describes, checked."""
    return lambda **rest: parse_job_file(peer_job(**rest), tmp_path)


@pytest.fixture
def create(tmp_path: Path) -> Callable[..., Path]:
    """Make a run folder for `peer_job(...)`."""
    count = iter(range(1000))

    def make(**rest: Any) -> Path:
        job = parse_job_file(peer_job(**rest), tmp_path)
        return RunFolder.create(tmp_path / f"run{next(count)}", job).path

    return make


@pytest.fixture
def finish() -> Callable[[Path], PeerRun]:
    """Run a folder's job to its end in this process."""

    def run(path: Path) -> PeerRun:
        outcome = run_attempt(path)
        assert outcome.error is None, outcome.error
        return PeerRun(path)

    return run


@pytest.fixture
def train(create: Callable[..., Path], finish: Callable[[Path], PeerRun]) -> Callable[..., PeerRun]:
    """Run `peer_job(...)` to its end."""
    return lambda **rest: finish(create(**rest))


@pytest.fixture
def make_peers(tmp_path: Path) -> Iterator[Callable[[int], Peers]]:
    made: list[Peers] = []

    def make(count: int) -> Peers:
        made.append(Peers(tmp_path / f"peers{len(made)}", count))
        return made[-1]

    yield make
    for peers in made:
        for name in list(peers.running):
            peers.stop(name)


@pytest.fixture
def peers_of(tmp_path: Path) -> Iterator[Callable[..., LocalPeers]]:
    """Processes of `covey peer` for `peer_job(...)`, `settings=` for the `peer.yaml` of each."""
    made: list[LocalPeers] = []

    def make(settings: dict[str, Any] | None = None, **keys: Any) -> LocalPeers:
        made.append(LocalPeers(tmp_path / f"real{len(made)}", peer_job(**keys), settings or {}))
        return made[-1]

    yield make
    for peers in made:
        for name in list(peers.running):
            peers.kill(name)


@pytest.fixture
def start_job(create: Callable[..., Path]) -> Iterator[Callable[..., JobProcess]]:
    """Make the run folder of a job of engine `grpc`, and run it in a process of its own."""
    started: list[JobProcess] = []

    def start(**keys: Any) -> JobProcess:
        started.append(JobProcess(create(**{**keys, "engine": "grpc"})))
        started[-1].resume()
        return started[-1]

    yield start
    for job in started:
        job.kill()


@pytest.fixture
def make_wire() -> Iterator[Callable[[int], Wire]]:
    made: list[Wire] = []

    def make(to_port: int) -> Wire:
        made.append(Wire(to_port))
        return made[-1]

    yield make
    for wire in made:
        wire.close()
