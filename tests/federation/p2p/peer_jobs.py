"""Small jobs for the tests of peers."""

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
