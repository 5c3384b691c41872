"""Small jobs for the tests of peers, and their run folders, read."""

import json
from pathlib import Path
from typing import Any

TOP_K = {"kind": "top-k", "fraction": 0.3}
METHODS = {
    "p2pl": {"affinity": 0.3, "consensus": {"steps": 2}, "topology": {"kind": "ring", "up": 0.5}},
    "d-psgd": {"topology": {"kind": "torus"}},
    "atc": {"robust": {"kind": "trimmed-mean"}, "topology": {"kind": "complete"}},
    "gossip": {},
    "sgp": {"topology": {"kind": "one-peer-exponential"}},
    "choco": {"compression": TOP_K},
}
MOVING = {"steps": 2, "batch_size": 10, "learning_rate": 0.1, "momentum": 0.5}


def peer_job(rounds: int = 3, peers: int = 6, **rest: Any) -> dict[str, Any]:
    """A job as plain data: `rest` goes into the section, `job=` to the top level."""
    job = {"name": "test", "workload": "peer-to-peer", "seed": 5, "stop": {"rounds": rounds}}
    section = {"app": "logistic", "data": {"name": "digits"}, "peers": peers}
    local = {"steps": 2, "batch_size": 10, "learning_rate": 0.1}
    return {**job, **rest.pop("job", {}), "peer-to-peer": {**section, "local": local, **rest}}


class PeerRun:
    """A finished run folder, read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.result = json.loads((path / "result.json").read_text())
        self.metrics = self._lines("metrics.jsonl")
        self.events = self._lines("events.jsonl")

    def said(self, kind: str) -> str:
        return "\n".join(event["message"] for event in self.events if event["kind"] == kind)

    def column(self, name: str) -> list[float]:
        return [line[name] for line in self.metrics if name in line]

    def part(self, name: str) -> bytes:
        return (self.path / "checkpoints" / "latest" / name).read_bytes()

    def _lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / name).read_text().splitlines()]
