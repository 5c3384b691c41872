"""A federation's manifests and Secrets as they are, but with processes of this machine for pods:
their commands, settings, files and keys. Not their isolation, probes and policies.
"""

import base64
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from covey.federation.site_keys import make_site_keys
from covey.federation.superlink import free_port
from covey.platform.jobfile.load import load_job_file
from covey.platform.kubernetes.rendering import render

from .conftest import RunResult

FILE = Path(__file__).parents[2] / "deploy" / "jobs" / "digits-superlink.yaml"
OVERRIDES = ["federated.clients=2", "stop.rounds=2", "kubernetes={sites: [north, south]}"]
LIMIT_S = 480.0
"""Only ends a test that has failed."""


class Cluster:
    """Processes for pods, in folders for volumes. The claim is one folder."""

    def __init__(self, folder: Path, objects: list[dict[str, Any]]) -> None:
        self.folder = folder
        self.objects = {(one["kind"], one["metadata"]["name"]): one for one in objects}
        self.ports = {port: str(free_port()) for port in ("9091", "9092")}
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, kind: str, name: str) -> None:
        """All containers of an object's pod."""
        spec = self.objects[kind, name]["spec"]["template"]["spec"]
        volumes = {volume["name"]: self._volume(name, volume) for volume in spec["volumes"]}
        for container in spec["containers"]:
            places = {
                mount["mountPath"]: str(volumes[mount["name"]])
                for mount in container["volumeMounts"]
            }
            environment = {one["name"]: one["value"] for one in container["env"]}
            command = [self._here(word, places) for word in container["command"]]
            if command[0] == "python":
                command[0] = sys.executable
            else:
                command[0] = str(Path(sys.executable).parent / command[0])
            if "covey.federation.site" in command:  # pods have a loopback of their own
                command += [f"--port={free_port()}", f"--folder={volumes['tmp'] / 'site'}"]
            log = (self.folder / f"{name}.{container['name']}.log").open("wb")
            settings = {key: self._here(value, places) for key, value in environment.items()}
            process = subprocess.Popen(
                command,
                env={**os.environ, **settings},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            log.close()
            self.running.append(process)

    def _here(self, word: str, places: dict[str, str]) -> str:
        """A word of a command line, with the paths and ports of this machine."""
        for path in sorted(places, key=len, reverse=True):
            if word == path or f"{path}/" in word or word.endswith(f"={path}"):
                return word.replace(path, places[path])
        word = word.replace("0.0.0.0", "127.0.0.1").replace(
            "digits-superlink-superlink", "127.0.0.1"
        )
        for port, here in self.ports.items():
            word = word.replace(port, here)
        return word

    def _volume(self, pod: str, volume: dict[str, Any]) -> Path:
        if "persistentVolumeClaim" in volume:
            folder = self.folder / "claim"
            folder.mkdir(exist_ok=True)
            return folder
        folder = self.folder / f"{pod}.{volume['name']}"
        folder.mkdir(exist_ok=True)
        if "secret" in volume:
            kept = self.objects["Secret", volume["secret"]["secretName"]]["data"]
            for name, content in kept.items():
                (folder / name).write_bytes(base64.b64decode(content))
        if "configMap" in volume:
            kept = self.objects["ConfigMap", volume["configMap"]["name"]]["data"]
            items = volume["configMap"].get("items") or [{"key": key, "path": key} for key in kept]
            for item in items:
                (folder / item["path"]).write_text(self._text(pod, kept[item["key"]]))
        return folder

    def _text(self, pod: str, text: str) -> str:
        """A file, with this machine's paths: the job file names those of its pod."""
        text = text.replace("/etc/covey-keys", str(self.folder / f"{pod}.keys"))
        return self._here(text, {})

    def end(self) -> None:
        for process in self.running:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    job = load_job_file(FILE, OVERRIDES)
    files = make_site_keys(job, folder / "keys", ["127.0.0.1"])
    objects = [yaml.safe_load(file.read_text()) for file in files]
    objects += yaml.safe_load_all(render(job, "flower"))
    made = Cluster(folder, objects)
    try:
        yield made
    finally:
        made.end()


@pytest.mark.slow
def test_the_manifests_commands_make_a_federation(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        made.start("Job", "digits-superlink")  # all at once, as `kubectl apply` does
        (job,) = made.running
        for name in ("superlink", "north", "south"):
            made.start("Deployment", f"digits-superlink-{name}")
        assert job.wait(LIMIT_S) == 0, (tmp_path / "digits-superlink.job.log").read_text()
    run = RunResult(tmp_path / "claim" / "runs" / "digits-superlink")
    assert run.result["state"] == "succeeded"
    assert [line["clients"] for line in run.metrics if "clients" in line] == [2, 2]
    assert run.metrics[-1]["accuracy"] > 0.5
