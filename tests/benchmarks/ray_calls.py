"""Count the Ray calls of a job's driver per 1,000 environment steps.

    python tests/benchmarks/ray_calls.py deploy/jobs/halfcheetah-sac.yaml [--set KEY=VALUE]…
        [--seconds 60]

Calls of actors, `ray.get`, `ray.wait` and `ray.put`, from when Ray's actors have taken over from
the job's own process on. (Samplers and learner make none: each runs in one endless call.) One JSON
object; exit status 1 unless all together are at most one per 1,000 steps.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from covey.platform.environment import prepare_libraries

LIMIT = 1.0
CALLS: Counter[str] = Counter()


def counted(owner: Any, name: str, label: str) -> None:
    """Have calls of a function counted."""
    function: Callable[..., Any] = getattr(owner, name)

    @wraps(function)
    def count(*arguments: Any, **more: Any) -> Any:
        CALLS[label] += 1
        return function(*arguments, **more)

    setattr(owner, name, count)


def measure(path: Path, sets: Sequence[str]) -> dict[str, Any]:
    """Run the job here."""
    prepare_libraries(own_ray=True)
    import ray
    from ray.actor import ActorMethod

    from covey.algorithms.training import Training
    from covey.algorithms.workload import WORKLOAD
    from covey.platform.jobfile.load import load_job_file
    from covey.platform.runs.folder import RunFolder
    from covey.platform.runs.run import Run

    counted(ActorMethod, "_remote", "actor calls")
    for name in ("get", "wait", "put"):
        counted(ray, name, f"ray.{name}")
    began: list[tuple[Counter[str], int]] = []
    run_to_end = Training.run_to_end

    def noting(self: Training) -> Any:
        began.append((CALLS.copy(), self._progress.env_steps))
        return run_to_end(self)

    Training.run_to_end = noting  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        RunFolder.create(Path(folder) / "run", job := load_job_file(path, sets))
        metrics = WORKLOAD.run(run := Run.claim(Path(folder) / "run"))
        wall_s = run.wall_s
    ((before, first),) = began
    steps = metrics["env_steps"] - first
    calls = {label: CALLS[label] - before[label] for label in CALLS}
    return {
        "job": job.name,
        "env_steps": steps,
        "wall_s": round(wall_s, 1),
        "calls": calls,
        "per_1000_steps": round(1000 * sum(calls.values()) / steps, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="KEY=VALUE")
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    ends = [f"stop.wall_s={arguments.seconds}", "stop.env_steps=null"]
    report = measure(arguments.job, [*arguments.sets, *ends])
    print(json.dumps(report, indent=2))
    sys.exit(0 if report["per_1000_steps"] <= LIMIT else 1)


if __name__ == "__main__":
    main()
