"""Measure what sampling and updating lose by going on at the same time, a core each.

    python tests/benchmarks/asynchronous.py deploy/jobs/halfcheetah-sac.yaml
        --set rl.algorithm.updates_per_step=null --set rl.sampling.envs_per_sampler=16
        [--rounds 3] [--seconds 20]

In every round: the job's sampler alone on one core, its learner alone on one core (one thread, on
rows that the sampler wrote before), then the job with one sampler. One JSON object: medians over
the rounds, the job's rates as parts of the others, its transfer cycle and loss. Exit status 1
unless both parts are at least 0.75, the cycle is below 50 ms and nothing is lost.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

ROWS = 20_000
"""Transitions in the learner's ring when it is measured alone."""
START_S = 15.0
"""Until Ray's actors have taken over from the job's own process, about."""
WARM_S = 5.0
PARTS = ("sampler", "learner")


def rate(step: Callable[[], float], seconds: float) -> float:
    """What the steps count, a second."""
    done, began = 0.0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        done += step()
    return done / elapsed


def alone(part: str, path: Path, sets: Sequence[str], seconds: float) -> float:
    """Environment steps or updates a second of one side of the job, in this process."""
    from covey.algorithms.parts import (
        env_source,
        make_environments_of,
        make_policy,
        probe_spaces,
    )
    from covey.platform.jobfile.load import load_job_file
    from covey.platform.runtime.sampler import Sampler
    from covey.platform.runtime.stream import Stream
    from covey.platform.runtime.weights_channel import SharedWeights

    job = load_job_file(path, sets)
    section = job.section
    count = section.sampling.envs_per_sampler
    spaces = probe_spaces(env_source(job))
    learner = section.algorithm.make_learner(spaces, job.seed, 1)
    weights = SharedWeights.create(learner.weights().arrays)
    weights.publish(learner.weights().arrays)
    stream = Stream.create(section.algorithm.stream_spec(count, 1, spaces), shared=True)
    sampler = Sampler(
        make_environments_of(job, count, 0, "environment"),
        partial(make_policy, spaces, section),
        job.seed,
    )
    sampler.connect(lambda: (stream, weights))

    def sample() -> float:
        sampler.sample()
        fragment = stream.take()
        assert fragment is not None
        stream.release()
        return float(fragment.env_steps)

    taken = 0.0
    while taken < ROWS:
        taken += sample()
    if part == "sampler":
        return rate(sample, seconds)
    replay = learner.memory.open([stream], [])

    def update() -> float:
        learner.update(replay)
        return 1.0

    update()
    return rate(update, seconds)


def alone_on_one_core(part: str, path: Path, sets: Sequence[str], seconds: float) -> float:
    """The same in a process that has only the first core."""
    command = [sys.executable, __file__, str(path), "--part", part, "--seconds", str(seconds)]
    command += [word for one in sets for word in ("--set", one)]
    core = min(os.sched_getaffinity(0))
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        check=True,
        preexec_fn=partial(os.sched_setaffinity, 0, {core}),
    )
    return float(done.stdout)


def together(path: Path, sets: Sequence[str], seconds: float) -> dict[str, float]:
    """The job's meters, from when its actors have warmed up."""
    wanted = [*sets, "rl.sampling.samplers=1", f"stop.wall_s={START_S + WARM_S + seconds}"]
    wanted.append("stop.env_steps=null")
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "covey.platform.cli", "run", str(path), "--json"]
        command += ["--run-dir", str(run)]
        command += [word for one in wanted for word in ("--set", one)]
        subprocess.run(command, check=True, capture_output=True)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    (begun,) = [event["wall_s"] for event in events if event["kind"] == "actors"]
    warm = [line for line in lines if line["wall_s"] > begun + WARM_S]
    names = ("sampling_hz", "update_hz", "transfer_cycle_s", "loss_fraction")
    return {name: median(line[name] for line in warm if name in line) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="KEY=VALUE")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    path, sets, seconds = arguments.job, arguments.sets, arguments.seconds
    if arguments.part:
        print(alone(arguments.part, path, sets, seconds))
        return
    rounds: list[dict[str, float]] = []
    for _ in range(arguments.rounds):
        one = {part: alone_on_one_core(part, path, sets, seconds) for part in PARTS}
        one |= together(path, sets, seconds)
        one["sampling_part"] = one["sampling_hz"] / one["sampler"]
        one["update_part"] = one["update_hz"] / one["learner"]
        rounds.append(one)
        print(json.dumps(one), file=sys.stderr, flush=True)
    report: dict[str, Any] = {name: median(one[name] for one in rounds) for name in rounds[0]}
    print(json.dumps({"job": path.name, **report, "rounds": rounds}, indent=2))
    held = (
        min(report["sampling_part"], report["update_part"]) >= 0.75
        and report["transfer_cycle_s"] < 0.05
        and report["loss_fraction"] == 0
    )
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
