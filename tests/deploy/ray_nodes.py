"""A Ray cluster of several nodes on this machine: each a process group of its own, to be killed."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import requests

from covey.platform import errors
from covey.platform.environment import prepare_libraries
from covey.platform.ray_start import free_ports

SOON_LOST = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}
"""A node is given up after 3 s without an answer: Ray's own settings take half a minute."""


class Node:
    """One `ray start`, with all that it starts."""

    def __init__(
        self,
        folder: Path,
        name: str,
        cpus: float,
        *arguments: str,
        without_covey: bool = False,
        unseen: Path | None = None,
    ) -> None:
        prepare_libraries(own_ray=True)
        environment = os.environ | SOON_LOST
        self.name, self.cpus = name, cpus
        command = [sys.executable, "-P", "-m", "covey.platform.jobs.head_process", "start"]
        if without_covey:
            command[3:4] = ["ray.scripts.scripts"]
            environment["PYTHONPATH"] = str(hiding(folder))
        command += [*arguments, f"--num-cpus={cpus:g}", "--block", "--disable-usage-stats"]
        command += ["--object-store-memory=200000000", "--log-color=false"]
        command += ["--resources", f'{{"{name}": 1}}']
        if unseen is not None:
            command = [*blind_to(unseen), *command]
        with (folder / f"{name}.log").open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env=environment
            )

    def kill(self) -> None:
        """As if its machine had lost its power."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def hiding(folder: Path) -> Path:
    """A folder for PYTHONPATH: Python finds the Covey that is installed no more."""
    installed = Path(errors.__file__).parents[2]
    site = folder / "without-covey"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(f"import sys\nsys.path.remove({str(installed)!r})\n")
    return site


def blind_to(folder: Path) -> list[str]:
    """What runs a command for which that folder, seen by all others, is empty."""
    apart = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--user", "--map-root-user"])]
    return [*apart, "sh", "-ec", 'mount -t tmpfs none "$0"; exec "$@"', str(folder)]


class RayNodes:
    """A head and others. The head's ports stay the same when another head takes its place. None of
    them sees what is in the folder `unseen`.
    """

    def __init__(self, folder: Path, head_cpus: float = 0, unseen: Path | None = None) -> None:
        self.folder = folder
        self._unseen = unseen
        self._gcs, self._dashboard = free_ports(2)
        self.address = f"http://127.0.0.1:{self._dashboard}"
        self.gcs = f"127.0.0.1:{self._gcs}"
        self.nodes: list[Node] = []
        self._heads = 0
        self.start_head(head_cpus)

    def start_head(self, cpus: float = 0) -> Node:
        self._heads += 1
        temp_dir = tempfile.mkdtemp(prefix="covey-ray-t")
        node = Node(
            self.folder,
            f"head{self._heads}",
            cpus,
            "--head",
            f"--port={self._gcs}",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={self._dashboard}",
            f"--temp-dir={temp_dir}",
            "--no-monitor",
            unseen=self._unseen,
        )
        self.nodes.append(node)
        self._wait_for(node)
        return node

    def add(self, name: str, cpus: float, without_covey: bool = False) -> Node:
        """One more worker node; returns once it is there."""
        address = f"--address={self.gcs}"
        node = Node(
            self.folder, name, cpus, address, without_covey=without_covey, unseen=self._unseen
        )
        self.nodes.append(node)
        self._wait_for(node)
        return node

    def alive(self) -> list[dict[str, Any]]:
        """What the head says of its living nodes."""
        token = Path(os.environ["RAY_AUTH_TOKEN_PATH"]).read_text().strip()
        found = requests.get(
            f"{self.address}/api/v0/nodes",
            params={"filter_keys": "state", "filter_predicates": "=", "filter_values": "ALIVE"},
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
        )
        found.raise_for_status()
        rows: list[dict[str, Any]] = found.json()["data"]["result"]["result"]
        return rows

    def _wait_for(self, node: Node) -> None:
        deadline_s = time.monotonic() + 180
        while not self._has(node):
            assert node.process.poll() is None, self._log(node)
            assert time.monotonic() < deadline_s, self._log(node)
            time.sleep(0.5)

    def _has(self, node: Node) -> bool:
        try:
            return any(node.name in (found["resources_total"] or {}) for found in self.alive())
        except (requests.RequestException, KeyError, TypeError):  # it is only just there
            return False

    def _log(self, node: Node) -> str:
        return (self.folder / f"{node.name}.log").read_text()[-2000:]

    def close(self) -> None:
        for node in reversed(self.nodes):
            node.end()
