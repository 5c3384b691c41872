"""A COVEY_HOME beside a stand-in for a cluster, with schedulers as processes of their own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from kube_operator import Operator
from kube_server import ApiServer

from covey.platform.client import Client
from covey.platform.jobs.background import stop_scheduler
from covey.platform.jobs.job import Job

NAMESPACE = "lab"
ADDRESS = f"kubernetes://{NAMESPACE}"
LIMIT_S = 480.0
"""Only ends a test that has failed."""


def until(condition: Callable[[], object], told: Callable[[], object] = lambda: "") -> None:
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s, told()
        time.sleep(0.02)


def write_kubeconfig(path: Path, url: str, token: str) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "scheduler"}}],
        "clusters": [{"name": "here", "cluster": {"server": url}}],
        "users": [{"name": "scheduler", "user": {"token": token}}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


@dataclass
class Place:
    """`home` is what the claim would be."""

    home: Path
    api: ApiServer
    operator: Operator
    schedulers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = Client(self.home)

    def schedule(self) -> subprocess.Popen[bytes]:
        """One as `covey submit --address` starts it."""
        options = ["--home", str(self.home), "--address", ADDRESS]
        with (self.home / "scheduler.log").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "covey.platform.jobs.daemon", *options],
                stdout=log,
                stderr=log,
            )
        self.schedulers.append(child)
        return child

    def until(self, condition: Callable[[], object]) -> None:
        until(condition, lambda: (self.home / "scheduler.log").read_text()[-3000:])

    def log(self) -> str:
        return (self.home / "scheduler.log").read_text()

    def end(self) -> None:
        stop_scheduler(self.home)  # in the background, if one is
        for child in self.schedulers:
            child.kill()
            child.wait()
        self.client.close()

    def ray_jobs(self) -> list[str]:
        return [each["metadata"]["name"] for each in self.api.objects.list("rayjobs", NAMESPACE)[0]]


def begun(job: Job) -> list[str]:
    """A line for each attempt that really ran."""
    file = Path(job.run_dir) / "begun.txt"
    return file.read_text().splitlines() if file.exists() else []


def environment(kubeconfig: Path, toy_path: str) -> dict[str, str]:
    """For schedulers, entrypoints and this process."""
    path = os.pathsep.join(filter(None, [toy_path, os.environ.get("PYTHONPATH")]))
    return {"KUBECONFIG": str(kubeconfig), "PYTHONPATH": path, "NO_PROXY": "127.0.0.1"}
