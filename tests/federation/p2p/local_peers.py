"""`covey peer` as processes on loopback, from the folder that `covey peers init` makes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from loopback import free_ports

from covey.federation.p2p.peer_files import PeerList, read_model
from covey.federation.p2p.peer_folder import make_folder


class LocalPeers:
    """The peers of one job. Those that run at the end of a test are killed."""

    def __init__(self, folder: Path, job: dict[str, Any], settings: dict[str, Any]) -> None:
        """`settings`: more keys for the `peer.yaml` of each."""
        self.folder, self.job = folder, folder.with_name("job.yaml")
        self.job.write_text(yaml.safe_dump(job))
        count = job["peer-to-peer"]["peers"]
        addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
        make_folder(folder, addresses, lambda name: settings)
        self.names = [f"peer-{number}" for number in range(count)]
        self.running: dict[str, subprocess.Popen[str]] = {}

    def config(self, name: str) -> Path:
        return self.folder / name / "peer.yaml"

    def address(self, name: str) -> str:
        return read_model(self.folder / "peers.yaml", PeerList).peers[name].address

    def reach_through(self, wire_port: int, name: str, of: str) -> None:
        """Have one peer look for another at a wire's near end."""
        file = self.folder / of / "peers.yaml"
        text = file.read_text().replace(self.address(name), f"127.0.0.1:{wire_port}")
        file.write_text(text)

    def start(self, *names: str) -> None:
        for name in names or self.names:
            command = [sys.executable, "-m", "covey.platform.cli", "peer"]
            command += [f"--config={self.config(name)}", f"--job={self.job}"]
            self.running[name] = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )

    def end(self, name: str) -> tuple[int, str]:
        """Wait for its exit status and what it has said."""
        process = self.running.pop(name)
        said, _ = process.communicate(timeout=600)
        return process.returncode, said

    def kill(self, name: str) -> None:
        self.running[name].kill()
        self.end(name)

    def run_dir(self, name: str) -> Path:
        return self.folder / name / "run"

    def lines(self, name: str, file: str = "metrics.jsonl") -> list[dict[str, Any]]:
        path = self.run_dir(name) / file
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]

    def rounds(self, name: str) -> int:
        """The newest that it has told of."""
        return max((line["step"] for line in self.lines(name)), default=-1)

    def said(self, name: str, kind: str) -> list[str]:
        return [e["message"] for e in self.lines(name, "events.jsonl") if e["kind"] == kind]
