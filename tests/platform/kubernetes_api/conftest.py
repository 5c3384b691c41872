"""A stand-in for a cluster on loopback, and what a user has to reach it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from kube_attempts import Attempts
from kube_operator import Operator
from kube_place import NAMESPACE, Place, environment, write_kubeconfig
from kube_server import ApiServer

ROOT = Path(__file__).parents[3]
CRDS = Path(os.environ.get("COVEY_KUBERAY_CRDS") or ROOT.parent / "shared" / "kuberay-crds")


@pytest.fixture
def api() -> Iterator[ApiServer]:
    server = ApiServer(CRDS if CRDS.is_dir() else None)
    server.namespaces[NAMESPACE] = "uid-of-lab"
    server.start()
    yield server
    server.stop()


@pytest.fixture
def place(
    api: ApiServer,
    own_environment: None,
    toy_path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Place]:
    pods = tmp_path / "pods"
    pods.mkdir()
    variables = environment(write_kubeconfig(tmp_path / "kubeconfig", api.url, api.token), toy_path)
    os.environ.update(variables)
    monkeypatch.setattr(
        "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", variables["KUBECONFIG"]
    )
    operator = Operator(api, NAMESPACE, pods, variables["PYTHONPATH"])
    operator.start()
    opened = Place(tmp_path, api, operator)
    yield opened
    opened.end()
    operator.stop()
    shutil.rmtree(pods)


@pytest.fixture
def attempts(place: Place) -> Iterator[Attempts]:
    made = Attempts(place)
    yield made
    made.launcher.close(leave_running=True)
