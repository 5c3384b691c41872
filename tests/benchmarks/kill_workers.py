"""Kill a job's workers in turn while it trains; measure how soon it goes on, and what is left.

    python tests/benchmarks/kill_workers.py deploy/jobs/pendulum-sac.yaml
        --set rl.sampling.samplers=1 --set rl.evaluation.every_env_steps=2000
        --set stop.wall_s=1800 --set stop.env_steps=null [--every-s 60] [--undisturbed 5]

`goes_on_s`: from the kill to the first report with new environment steps and new gradient steps
that began after it, and after a sampler or learner has taken the place of one that was killed.
`dip`: the lowest rate of sampling that the meter showed in the 15 s after a kill, as a part of the
median of the 15 s before it. `memory_mb`: of all the job's processes (PSS, shared pages counted
once), by tenths of the run. With `--undisturbed N` as many runs of other seeds are left alone, as
many steps each. Exit status 1 if a role was never killed, training took more than 10 s to go on,
memory grew by a tenth after the first two tenths of the run, anything is left, or the undisturbed
runs all ended with a higher return.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import psutil

ROLES = ("sampler-0", "evaluator", "viewer", "learner")
NEEDED = ("sampler-0", "learner")
LIMIT_S = 10.0
AROUND_S = 15.0
Lines = list[dict[str, Any]]


def begin(job: Path, sets: Sequence[str], run_dir: Path, seed: int) -> psutil.Popen:
    """`covey run` in the background; its last line goes to `out.json` beside the run folder."""
    command = [sys.executable, "-m", "covey.platform.cli", "run", str(job), "--json"]
    command += ["--run-dir", str(run_dir)]
    for one in (*sets, f"seed={seed}"):
        command += ["--set", one]
    with run_dir.with_suffix(".json").open("w") as out:
        return psutil.Popen(command, stdout=out, stderr=subprocess.DEVNULL)


def lines(run_dir: Path) -> Lines:
    """The reports so far."""
    file = run_dir / "metrics.jsonl"
    whole = file.read_text().rpartition("\n")[0] if file.exists() else ""
    return [json.loads(line) for line in whole.splitlines()]


def family(process: psutil.Popen) -> list[psutil.Process]:
    """The run's processes."""
    with suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def worker(process: psutil.Popen, role: str) -> psutil.Process | None:
    """The newest process of a role."""
    found = []
    for one in family(process):
        with suppress(psutil.Error):
            alive = one.status() != psutil.STATUS_ZOMBIE
            if alive and "".join(one.cmdline()).startswith(f"ray::{role}"):
                found.append(one)
    return max(found, key=psutil.Process.create_time, default=None)


def memory_mb(process: psutil.Popen) -> float:
    """Of all processes together."""
    total = 0
    for one in family(process):
        with suppress(psutil.Error):
            total += one.memory_full_info().pss
    return total / 2**20


@dataclass
class Study:
    """What was seen of one run."""

    kills: Lines = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)
    workers: dict[int, psutil.Process] = field(default_factory=dict)

    def watch(self, process: psutil.Popen, run_dir: Path, every_s: float) -> None:
        """Kill one worker after the other until the run ends."""
        roles = cycle(ROLES)
        role = next(roles)
        while process.poll() is None and not lines(run_dir):
            time.sleep(0.5)
        due = time.monotonic() + every_s
        while process.poll() is None:
            time.sleep(min(5.0, every_s))
            self.workers |= {one.pid: one for one in family(process)}
            self.memory_mb.append(memory_mb(process))
            if time.monotonic() >= due and (victim := worker(process, role)):
                due = time.monotonic() + every_s
                found = kill(process, victim, role, run_dir)
                role = next(roles)
                if process.poll() is None:  # else the run was over before it could go on
                    self.kills.append(found)
                    print(json.dumps(found), file=sys.stderr, flush=True)


def kill(process: psutil.Popen, victim: psutil.Process, role: str, run_dir: Path) -> dict[str, Any]:
    """Kill one worker, and wait until training has gone on, with another in its place if it needs
    one.
    """
    (before,) = lines(run_dir)[-1:]
    killed_at = before["wall_s"]
    victim.kill()
    struck = time.monotonic()
    while role in NEEDED and process.poll() is None:
        successor = worker(process, role)
        if successor is not None and successor.pid != victim.pid:
            (before,) = lines(run_dir)[-1:]
            break
        time.sleep(0.05)
    while process.poll() is None and not has_gone_on(lines(run_dir), before):
        time.sleep(0.05)
    return {
        "role": role,
        "wall_s": killed_at,
        "goes_on_s": round(time.monotonic() - struck, 2),
    }


def has_gone_on(reports: Lines, before: dict[str, Any]) -> bool:
    """Whether a report that began after `before` tells of both new steps and new updates."""
    later = [report for report in reports[-20:] if report["wall_s"] > before["wall_s"]][1:]
    return any(report["sampling_hz"] > 0 and report.get("update_hz", 0) > 0 for report in later)


def dips(kills: Lines, reports: Lines) -> None:
    """Note with every kill what the meter of sampling showed after it."""
    for one in kills:
        at = one["wall_s"]
        before = [r["sampling_hz"] for r in reports if at - AROUND_S <= r["wall_s"] <= at]
        after = [r["sampling_hz"] for r in reports if at < r["wall_s"] <= at + AROUND_S]
        if after and before and median(before) > 0:
            one["dip"] = round(min(after) / median(before), 3)


def leftovers(workers: Sequence[psutil.Process], segments: set[str]) -> dict[str, list[str]]:
    """Processes of the run and shared memory that outlived it."""
    psutil.wait_procs(workers, timeout=10)
    alive = [one for one in workers if one.is_running()]
    return {
        "processes": [f"{one.pid} {one.name()}" for one in alive],
        "segments": sorted(shared_memory() - segments),
    }


def shared_memory() -> set[str]:
    """Covey's segments that some process holds open or mapped, and Ray's files."""
    found = set(os.listdir("/dev/shm"))
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile, or is somebody else's
            maps = (process / "maps").read_text().splitlines()
            held = [line.split()[4:6] for line in maps if "memfd:covey" in line]
            found |= {f"{name} {inode}" for inode, name in held}
            for file in (process / "fd").iterdir():
                if "memfd:covey" in (name := os.readlink(file)):
                    found.add(f"{name.removesuffix(' (deleted)')} {os.stat(file).st_ino}")
    return found


def undisturbed(job: Path, sets: Sequence[str], seed: int, steps: int, folder: Path) -> float:
    """The final return of a run that nobody touches."""
    run_dir = folder / f"undisturbed-{seed}"
    only = [one for one in sets if not one.startswith(("stop.", "viewer."))]
    process = begin(
        job, [*only, f"stop.env_steps={steps}", "stop.episode_return_mean=null"], run_dir, seed
    )
    process.wait()
    return final_return(run_dir)


def final_return(run_dir: Path) -> float:
    """The mean of the last 100 training episodes."""
    mean: float = json.loads((run_dir / "result.json").read_text())["metrics"][
        "episode_return_mean"
    ]
    return mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="KEY=VALUE")
    parser.add_argument("--every-s", type=float, default=60.0)
    parser.add_argument("--undisturbed", type=int, default=0, metavar="N")
    arguments = parser.parse_args()
    segments = shared_memory()
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "disturbed"
        process = begin(arguments.job, arguments.sets, run_dir, seed=100)
        study = Study()
        study.watch(process, run_dir, arguments.every_s)
        kills, memory, reports = study.kills, study.memory_mb, lines(run_dir)
        dips(kills, reports)
        left = leftovers(list(study.workers.values()), segments)
        tenth = max(1, len(memory) // 10)
        report: dict[str, Any] = {
            "job": arguments.job.name,
            "exit_status": process.returncode,
            "env_steps": reports[-1]["step"],
            "kills": kills,
            "memory_mb": [
                round(median(memory[i : i + tenth])) for i in range(0, len(memory), tenth)
            ],
            "left": left,
            "run_folder": sorted(path.name for path in run_dir.iterdir()),
            "final_return": final_return(run_dir),
            "undisturbed": [
                undisturbed(arguments.job, arguments.sets, seed, reports[-1]["step"], Path(folder))
                for seed in range(arguments.undisturbed)
            ],
        }
    print(json.dumps(report, indent=2))
    sys.exit(1 if process.returncode or not holds(report) else 0)


def holds(report: dict[str, Any]) -> bool:
    """Whether the study shows what it is to show."""
    kills, memory, others = report["kills"], report["memory_mb"], report["undisturbed"]
    return (
        {one["role"] for one in kills} == set(ROLES)
        and all(one["goes_on_s"] <= LIMIT_S for one in kills)
        and memory[-1] <= 1.1 * max(memory[:2])
        and not any(report["left"].values())
        and (not others or report["final_return"] >= min(others))
    )


if __name__ == "__main__":
    main()
