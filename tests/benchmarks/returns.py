"""Train a job and Stable-Baselines3 with the same settings, and compare what they have learnt.

    python tests/benchmarks/returns.py deploy/jobs/halfcheetah-sac.yaml [--set KEY=VALUE]…

Both train side by side, each on a core of its own (with `--in-turn` one after the other, each on
the whole machine), from the job's resolved settings (the same networks, minibatches and ratio of
updates to steps), until `stop.env_steps` or `stop.wall_s`. What
counts is the mean return of whole episodes with the most likely actions, at the end. SB3 is the one
of `make bench-peers`. Exit status 1 unless the median over the seeds is at least SB3's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from covey.algorithms.bench.peer import python_of, script
from covey.algorithms.bench.sampling import CNN
from covey.platform.jobfile.load import load_job_file
from covey.platform.jobfile.model import JobFile

Command = subprocess.Popen[str]


def begin(command: Sequence[str], cores: set[int]) -> Command:
    """A process on these cores; what it says goes to where ours goes."""
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=partial(os.sched_setaffinity, 0, cores),
    )


def last_record(process: Command) -> dict[str, Any]:
    """The JSON on the last line that it prints."""
    printed, _ = process.communicate()
    if process.returncode or not printed.strip():
        raise SystemExit(f"{' '.join(map(str, process.args))}: status {process.returncode}")
    record: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return record


def sb3_settings(job: JobFile, seed: int, episodes: int) -> dict[str, Any]:
    """What `peers/sb3_returns.py` is told."""
    section = job.section
    return {
        "env": section.env.id,
        "seed": seed,
        "env_steps": job.stop.env_steps if job.stop.wall_s is None else None,
        "wall_s": job.stop.wall_s,
        "schedule_steps": job.stop.env_steps,
        "envs": section.sampling.envs_per_sampler * max(1, section.sampling.samplers),
        "algorithm": section.algorithm.model_dump(mode="json"),
        "cnn": {**CNN, "width": section.algorithm.hidden[0]},
        "episodes": episodes,
    }


def train(
    path: Path, sets: Sequence[str], seed: int, episodes: int, in_turn: bool
) -> dict[str, Any]:
    """One seed of both."""
    machine = os.sched_getaffinity(0)
    first, second = sorted(machine)[:2]
    own, others = (machine, machine) if in_turn else ({first}, {second})
    covey = [sys.executable, "-m", "covey.platform.cli"]
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder) / "run")
        words = [word for one in (*sets, f"seed={seed}") for word in ("--set", one)]
        ours = begin([*covey, "run", str(path), "--json", "--run-dir", run, *words], own)
        settings = sb3_settings(load_job_file(path, sets), seed, episodes)
        command = [str(python_of("sb3")), script("sb3_returns"), json.dumps(settings)]
        peers = None if in_turn else begin(command, others)
        result = last_record(ours)
        evaluated = last_record(
            begin([*covey, "evaluate", run, "--episodes", str(episodes), "--json"], own)
        )
        peer = last_record(peers or begin(command, others))
    return {
        "seed": seed,
        "covey": {
            "env_steps": result["step"],
            "train_s": round(result["wall_s"], 1),
            "training_return": result["metrics"].get("episode_return_mean"),
            "evaluation_return": evaluated["episode_return_mean"],
        },
        "sb3": peer,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets")
    parser.add_argument("--in-turn", action="store_true")
    parser.add_argument("--episodes", type=int, default=10, help="of each evaluation")
    arguments = parser.parse_args()
    runs = []
    for seed in range(arguments.seeds):
        given = (arguments.job, arguments.sets, seed, arguments.episodes, arguments.in_turn)
        runs.append(train(*given))
        print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    medians = {
        who: median(run[who]["evaluation_return"] for run in runs) for who in ("covey", "sb3")
    }
    print(json.dumps({"job": arguments.job.name, "median": medians, "runs": runs}, indent=2))
    sys.exit(0 if medians["covey"] >= medians["sb3"] else 1)


if __name__ == "__main__":
    main()
