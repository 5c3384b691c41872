"""Kill a deterministic run's whole process group at random moments, resume it, compare the weights.

    python tests/benchmarks/kill_resume.py JOB.yaml [--times 10] [--set KEY=VALUE]…

Prints one JSON object: the digest of the uninterrupted run's `model.safetensors` and for each kill
when it struck, the newest step saved by then, the step it was resumed from and whether the digests
are equal. Exit status 1 if any differs.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Any


def covey(arguments: list[str], kill_after_s: float | None = None) -> dict[str, Any] | None:
    """The result of a `covey` command that ended by itself; None if it was killed first."""
    command = [sys.executable, "-m", "covey.platform.cli", *arguments, "--json"]
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        out, err = process.communicate(timeout=kill_after_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{err}")
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def digest(run_dir: Path) -> str:
    return sha256(
        (run_dir / "checkpoints" / "latest" / "model.safetensors").read_bytes()
    ).hexdigest()


def restored_step(run_dir: Path) -> int | None:
    """The step the last attempt went on from; None if it began at the beginning."""
    events = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    steps = [event["step"] for event in events if event["kind"] == "restored"]
    return steps[-1] if steps else None


def saved_step(run_dir: Path) -> int | None:
    """The newest checkpoint with a manifest; None if there is none yet."""
    manifests = (run_dir / "checkpoints").glob("[0-9]*/manifest.json")
    return max((int(manifest.parent.name) for manifest in manifests), default=None)


def killed_once(
    start: list[str], run_dir: Path, kill_after_s: float, expected: str
) -> dict[str, Any]:
    """One run that is killed once and then resumed to its end."""
    result = covey([*start, "--run-dir", str(run_dir)], kill_after_s)
    struck = result is None
    saved = saved_step(run_dir)
    if struck and (run_dir / "job.yaml").exists():
        covey(["resume", str(run_dir)])
    elif struck:  # killed before there was anything to resume
        covey([*start, "--run-dir", str(run_dir)])
    return {
        "killed_after_s": round(kill_after_s, 2),
        "struck": struck,
        "saved": saved,
        "resumed_from": restored_step(run_dir),
        "equal": digest(run_dir) == expected,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    arguments = parser.parse_args()
    start = ["run", str(arguments.job), "--set", "deterministic=true"]
    for override in arguments.overrides:
        start += ["--set", override]
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        began = time.monotonic()
        covey([*start, "--run-dir", str(whole)])
        wall_s = time.monotonic() - began
        expected = digest(whole)
        kills = [
            killed_once(
                start,
                Path(folder) / f"killed-{index}",
                moments.uniform(0.2, 0.95) * wall_s,
                expected,
            )
            for index in range(arguments.times)
        ]
    report = {
        "job": arguments.job.name,
        "sha256": expected,
        "uninterrupted_s": round(wall_s, 1),
        "kills": kills,
    }
    print(json.dumps(report, indent=2))
    sys.exit(0 if all(kill["equal"] for kill in kills) else 1)


if __name__ == "__main__":
    main()
