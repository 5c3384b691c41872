"""A real SuperLink and SuperNodes on loopback, with TLS and node authentication.

One SuperLink with two SuperNodes is started for all tests, by the parts that `engine: superlink` is
made of; jobs reach it by its address. Jobs that start their own are slow.
"""

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from safetensors.numpy import load

from covey.federation.certificates import Certificates, make_certificates, make_node_key
from covey.federation.packed_app import pack
from covey.federation.superlink import SuperLink, flower_command, free_port, last_words
from covey.federation.superlink_grid import SuperLinkGrid
from covey.federation.superlink_internals import Control, ServerTask
from covey.federation.supernodes import StartedSuperNodes
from covey.platform.driver import run_attempt
from covey.platform.environment import flower_environment

APP = Path(__file__).parent / "apps" / "selfseeded"
LIMIT_S = 480.0
"""Only ends a test that has failed."""
OWN = {"engine": "superlink", "superlink": {"wait_s": LIMIT_S}}


@dataclass
class Federation:
    """A SuperLink with SuperNodes, and what was told of them."""

    folder: Path
    certificates: Certificates
    superlink: SuperLink
    secret: bytes
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.nodes = StartedSuperNodes(
            self.folder, 2, self.superlink, self.certificates, 1, [], self._tell
        )

    def _tell(self, kind: str, message: str, **fields: object) -> None:
        self.told.append(f"{kind}: {message} {fields}")

    def job(self, **more: object) -> dict[str, object]:
        """The section of a job on this SuperLink."""
        superlink = {
            "address": self.superlink.address,
            "root_certificates": str(self.certificates.root),
            "superexec_secret": str(self.folder / "superexec.secret"),
        }
        return {"engine": "superlink", "superlink": superlink, **more}

    def task(self, **config: object) -> ServerTask:
        """A run of the test app whose ServerApp is this process."""
        control = Control(self.superlink.place)
        run_id = control.start_run(pack(APP), config)
        control.close()
        task = ServerTask.acquire(self.superlink.place, self.secret)
        assert task and task.run.run_id == run_id
        return task


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    folder = tmp_path_factory.mktemp("superlink")
    certificates, secret = make_certificates(folder), secrets.token_bytes(32)
    superlink = SuperLink(folder, certificates, None, secret)
    try:
        superlink.wait(LIMIT_S)
        started = Federation(folder, certificates, superlink, secret)
        try:
            started.nodes.start()
            yield started
        finally:
            started.nodes.end()
    finally:
        superlink.end()


def model(run) -> dict[str, np.ndarray]:
    return load(run.model)


def assert_equal(run, other) -> None:
    assert model(run).keys() == model(other).keys()
    for name, array in model(run).items():
        assert np.abs(array - model(other)[name]).max() <= 1e-6, name
        assert np.abs(array).max() > 0.1, name


def test_the_same_app_gives_the_same_model_as_inline(train, federation):
    # Which SuperNode is which client is the SuperLink's affair here, so all of them train.
    everywhere = {"run_config": {"fraction": 1.0}}
    inline = train("selfseeded", clients=2, rounds=2, federated=everywhere)
    remote = train("selfseeded", clients=2, rounds=2, federated=federation.job(**everywhere))
    assert_equal(remote, inline)
    assert [line["clients"] for line in remote.metrics] == [2, 2]
    assert remote.metrics[-1]["train_partitions"] == 2
    assert remote.said("superlink") and not remote.said("own-loop")


def test_a_client_that_fails_is_named_and_the_round_goes_on(train, federation):
    run = train("selfseeded", clients=2, rounds=1, federated=federation.job(run_config={"fail": 1}))
    assert (run.metrics[-1]["clients"], run.metrics[-1]["clients_failed"]) == (1, 1)
    assert "this client always fails" in run.said("client-failed")[0]


def test_a_node_that_is_not_registered_is_turned_away(federation, tmp_path):
    task = federation.task()
    wait_for(lambda: len(task.nodes()) == 2)
    before = task.nodes()
    make_node_key(tmp_path / "node.key")  # and nobody tells the SuperLink
    command = [
        flower_command("flower-supernode"),
        f"--superlink={federation.superlink.address}",
        f"--root-certificates={federation.certificates.root}",
        f"--auth-supernode-private-key={tmp_path / 'node.key'}",
        f"--port={free_port()}",
    ]
    environment = flower_environment(tmp_path, federation.folder / "bytecode")
    with (tmp_path / "log").open("wb") as log:
        status = subprocess.call(command, env=environment, stdout=log, stderr=log, timeout=LIMIT_S)
    assert status != 0
    assert "Failed to initialize the connection" in last_words(tmp_path / "log")
    assert task.nodes() == before
    task.finish(None)


def test_a_killed_supernode_is_started_again_and_the_round_completes(federation, tmp_path):
    restarts = federation.nodes.restarts
    task = federation.task(meet=str(tmp_path))
    grid = SuperLinkGrid(task, federation.nodes, num_clients=2)
    assert grid.wait(LIMIT_S)
    families: list[psutil.Process] = []
    killer = threading.Thread(target=kill_who_waits, args=(tmp_path, families))
    killer.start()
    start = ArrayRecord({"w": Array(np.ones(3))})
    content = RecordDict({"arrays": start, "config": ConfigRecord({"server-round": 1})})
    replies = grid.send_and_receive(
        [Message(content, node, "train") for node in grid.get_node_ids()]
    )
    killer.join()
    task.finish(None)
    assert [reply.has_error() for reply in replies] == [False, False]
    assert [reply.content["metrics"]["num-examples"] for reply in replies] == [1, 2]
    assert federation.nodes.restarts == restarts + 1
    assert "supernode-restarted" in federation.told[-1]
    assert len(families) >= 3  # the SuperNode, its SuperExec and its ClientApp
    wait_for(lambda: gone(families))


def kill_who_waits(meeting: Path, family: list[psutil.Process]) -> None:
    """Kill the SuperNode whose client waits, and note who belonged to it."""
    wait_for((meeting / "pid").exists)
    wait_for(lambda: (meeting / "pid").read_text())
    superexec = psutil.Process(int((meeting / "pid").read_text()))
    supernode = superexec.parent()
    assert supernode and "flower-supernode" in " ".join(supernode.cmdline())
    family += [supernode, *supernode.children(recursive=True)]
    supernode.send_signal(signal.SIGKILL)


def test_a_superlink_whose_tasks_go_to_others_is_named(create, federation):
    control = Control(federation.superlink.place)
    control.start_run(pack(APP), {})  # somebody else's, and it has waited longer
    path = create("selfseeded", clients=2, federated=federation.job())
    outcome = run_attempt(path)
    assert outcome.exit_status == 2
    assert "was given to somebody else" in outcome.error
    assert ServerTask.acquire(federation.superlink.place, federation.secret) is None
    control.close()


def wait_for(condition) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


LATE = {"stragglers": {"fraction": 0.5, "delay_s": 5.0}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("app", "more"),
    [
        ("selfseeded", {"cohort": 2}),
        ("mlp", {"cohort": 2}),
        ("mlp", {"cohort": 2, "strategy": {"name": "fedbuff", "concurrency": 3}, "faults": LATE}),
    ],
)
def test_ten_rounds_on_four_supernodes_of_its_own(train, app, more):
    inline = train(app, clients=4, rounds=10, federated=more)
    remote = train(app, clients=4, rounds=10, federated={**OWN, **more})
    assert_equal(remote, inline)
    left = {file.name for file in (remote.path / "superlink").rglob("*")}
    assert not any(name.endswith((".key", ".secret")) for name in left)
    assert listeners(remote.path) == []


@pytest.mark.slow
def test_nothing_is_left_of_a_job_that_is_killed(create):
    path = create("selfseeded", clients=2, rounds=500, federated=OWN)
    code = (
        "import sys, pathlib; from covey.platform.driver import run_attempt;"
        "run_attempt(pathlib.Path(sys.argv[1]))"
    )
    job = subprocess.Popen([sys.executable, "-c", code, str(path)])
    try:
        metrics = path / "metrics.jsonl"
        wait_for(lambda: metrics.exists() and metrics.read_text())
        family = psutil.Process(job.pid).children(recursive=True)
        assert len(family) >= 8  # a SuperLink, two SuperNodes and their SuperExecs, leashes
        assert len(listeners(path)) >= 3
    finally:
        job.kill()
        job.wait()
    wait_for(lambda: gone(family))
    assert listeners(path) == []
    resumed = run_attempt_for(path, rounds=3)
    assert resumed.error is None, resumed.error


def run_attempt_for(path: Path, rounds: int):
    from covey.platform.runs.folder import RunFolder

    folder = RunFolder.open(path)
    job = folder.job()
    folder.replace_job(
        job.model_copy(update={"stop": job.stop.model_copy(update={"rounds": rounds})})
    )
    return run_attempt(path)


def listeners(path: Path) -> list[int]:
    """Ports on which processes listen that know the run folder by their arguments."""
    mine = {
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if process.pid != os.getpid() and str(path) in " ".join(process.info["cmdline"] or [])
    }
    connections = psutil.net_connections("tcp")
    return [c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN and c.pid in mine]
