"""A job whose peers are Ray actors, in a process of its own."""

import subprocess
import sys
from pathlib import Path

from peer_jobs import PeerRun

from covey.platform.exit_status import ExitStatus

LONG_S = 900
"""For Ray and four peers to start, on a machine that has much else to do."""


class JobProcess:
    """A job's peers and their figures, from outside."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.homes = [path / "peers" / f"peer-{number}" for number in range(4)]
        self.process: subprocess.Popen[bytes] | None = None

    def resume(self) -> None:
        command = [sys.executable, "-m", "covey.platform.cli", "resume", str(self.path)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def end(self) -> PeerRun:
        said, _ = self.process.communicate(timeout=LONG_S)
        assert self.process.returncode == ExitStatus.SUCCEEDED, said
        return PeerRun(self.path)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def lines(self, name: str = "metrics.jsonl", peer: int | None = None) -> list[str]:
        file = (self.path if peer is None else self.homes[peer]) / name
        return file.read_text().splitlines() if file.exists() else []

    def said(self, kind: str, peer: int | None = None) -> bool:
        return any(f'"{kind}"' in line for line in self.lines("events.jsonl", peer))
