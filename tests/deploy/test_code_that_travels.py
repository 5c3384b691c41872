"""Jobs with code of the user's on a Ray cluster none of whose nodes sees the user's folders."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray_nodes import RayNodes

from covey.platform.client import Client
from covey.platform.jobs.job import Job, State

pytestmark = [pytest.mark.ray, pytest.mark.slow]

APPS = Path(__file__).parents[1] / "federation" / "apps"
LIMIT_S = 600.0


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's folder: an app that needs a module of the `code:` folder beside it."""
    path = tmp_path_factory.mktemp("mine")
    shutil.copytree(APPS / "pure", path / "pure")
    for part in ("client_app", "server_app"):
        file = path / "pure" / "pure_app" / f"{part}.py"
        file.write_text("import our_words\n\nassert our_words.SAID\n" + file.read_text())
    (path / "code").mkdir()
    (path / "code" / "our_words.py").write_text("SAID = True\n")
    return path


@pytest.fixture(scope="module")
def nodes(home: Path, mine: Path) -> Iterator[RayNodes]:
    opened = RayNodes(home, unseen=mine)
    for name in ("one", "two"):
        opened.add(name, 2)
    yield opened
    opened.close()


def job(mine: Path, workload: str, **section: Any) -> dict[str, Any]:
    """On all four CPUs, which are two nodes'."""
    return {
        "name": f"by-{workload}",
        "workload": workload,
        "code": str(mine / "code"),
        "resources": {"cpus": 4},
        "stop": {"rounds": 3},
        workload: {"app": str(mine / "pure"), **section},
    }


def done(client: Client, document: dict[str, Any]) -> Job:
    ended = client.wait(client.submit(document), LIMIT_S)
    assert ended.state is State.SUCCEEDED, (
        ended.reason + (client.home / "scheduler.log").read_text()[-3000:]
    )
    assert len(ended.attempts) == 1
    return ended


def last_of(ended: Job) -> dict[str, float]:
    lines = (Path(ended.run_dir) / "metrics.jsonl").read_text().splitlines()
    told: dict[str, float] = json.loads(lines[-1])
    return told


def test_no_node_sees_the_users_folder(nodes: RayNodes, mine: Path):
    assert list(mine.iterdir())
    for node in nodes.nodes:
        assert not list(Path(f"/proc/{node.process.pid}/root{mine}").iterdir())


def test_clients_of_an_app_folder_train_on_both_nodes(client: Client, mine: Path):
    ended = done(client, job(mine, "federated", engine="actors", actors=4, clients=8))
    assert last_of(ended)["clients"] == 8


def test_peers_of_an_app_folder_train_on_both_nodes(client: Client, mine: Path):
    ended = done(client, job(mine, "peer-to-peer", engine="grpc", peers=4))
    assert last_of(ended)["step"] == 3


def test_what_has_changed_is_sent_anew(client: Client, mine: Path):
    """An app with an error, and the same without it: no node keeps the old one."""
    broken = mine / "pure" / "pure_app" / "server_app.py"
    text = broken.read_text()
    broken.write_text("raise RuntimeError('not like this')\n")
    document = job(mine, "federated", engine="actors", actors=4, clients=8)
    failed = client.wait(client.submit(document | {"retries": {"max_attempts": 1}}), LIMIT_S)
    assert failed.state is State.FAILED and "not like this" in failed.reason
    broken.write_text(text)
    done(client, document)


def test_code_that_is_too_large_is_told_in_one_line(client: Client, mine: Path):
    (mine / "large").mkdir()
    with (mine / "large" / "data.bin").open("wb") as file:
        file.truncate(101 * 2**20)
    document = job(mine, "federated", engine="actors", actors=4, clients=8)
    failed = client.wait(client.submit(document | {"code": str(mine / "large")}), LIMIT_S)
    assert failed.state is State.FAILED and "no folder of more than 100 MiB" in failed.reason
    (mine / "large" / ".gitignore").write_text("data.bin\n")
    app = str(mine / "pure")
    shutil.copytree(APPS / "pure", app, dirs_exist_ok=True)  # as it is without `code:`
    done(client, document | {"code": str(mine / "large")})
