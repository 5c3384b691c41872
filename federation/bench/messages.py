"""What a message costs when clients do nothing: our loop, an InlineGrid and FedAvg's average."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from covey.federation.bench.contenders import LIMIT_S, covey_run
from covey.federation.bench.metered import run_metered
from covey.platform.cli.output import figure, note

CLIENTS = 100
ROUNDS = 101
"""10,000 messages after the first round."""
APP = Path(__file__).parent / "nothing"


def measure_messages(times: int, rounds: int = ROUNDS) -> list[float]:
    """Milliseconds a message, one reading a run."""
    readings = []
    for number in range(1, times + 1):
        with tempfile.TemporaryDirectory() as folder:
            file, run_dir = Path(folder, "job.yaml"), Path(folder, "run")
            file.write_text(json.dumps(job(rounds)))
            run_metered("Covey inline", covey_run(file, run_dir), LIMIT_S)
            lines = (run_dir / "metrics.jsonl").read_text().splitlines()
        readings.append(ms_a_message([json.loads(line) for line in lines]))
        note(f"messages, {number}: {figure(readings[-1])} ms each")
    return readings


def job(rounds: int) -> dict[str, Any]:
    """As plain data."""
    return {
        "name": "bench-messages",
        "workload": "federated",
        "stop": {"rounds": rounds},
        "federated": {"app": str(APP), "engine": "inline", "clients": CLIENTS},
    }


def ms_a_message(reports: Sequence[Mapping[str, float]]) -> float:
    """From the report of the first round to that of the last one."""
    first, last = reports[0], reports[-1]
    messages = (last["step"] - first["step"]) * CLIENTS
    return (last["wall_s"] - first["wall_s"]) / messages * 1000
