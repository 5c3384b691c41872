"""A third party's workload that counts steps: just enough to see how the scheduler treats a job."""

import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from covey.platform.errors import UserError
from covey.platform.jobfile.model import JobFile, Section, StepUnit
from covey.platform.runs.fence import newest_attempt
from covey.platform.runs.run import Run


class ToySection(Section):
    """How the count goes."""

    step_s: float = 0.1
    #: of the job's own, imported before the count begins
    module: str | None = None
    #: in the first attempt, after five steps
    trouble: Literal["none", "crash", "mistake", "exit", "end", "stop"] = "none"
    #: a file without which the first attempt goes no further than five steps
    wait_for: str | None = None
    #: CPUs of the parts that it takes on a cluster, all of them or none
    parts: tuple[float, ...] = ()


class Toy:
    """Counts to `stop.env_steps`; every attempt leaves a line in `begun.txt`."""

    name = "toy"
    section = ToySection
    step_unit: StepUnit = "env_steps"
    stop_metrics: frozenset[str] = frozenset()
    may_change: frozenset[str] = frozenset()

    def resolve(self, job: JobFile, base: Path) -> JobFile:
        return job

    def bundles(self, job: JobFile) -> list[dict[str, float]]:
        return [{"CPU": part} for part in job.section.parts]

    def run(self, run: Run) -> Mapping[str, float]:
        checkpoint = run.restore()
        step = json.loads(checkpoint.read("state.json"))["step"] if checkpoint else 0
        with (run.path / "begun.txt").open("a") as begun:
            begun.write(f"{run.attempt} from {step}\n")
        if run.job.section.module:
            importlib.import_module(run.job.section.module)
        run.started()
        while not run.stop_reason(step, {}):
            step += 1
            time.sleep(run.job.section.step_s)
            run.report(step, {"count": float(step)})
            if run.checkpoint_due(step):
                self._save(run, step)
            if step == 5 and run.attempt == 1:
                self._make_trouble(run.job.section.trouble)
                self._wait(run, step)
        self._save(run, step)
        return {"count": float(step)}

    def _save(self, run: Run, step: int) -> None:
        run.checkpoint(step, {"state.json": json.dumps({"step": step}).encode()})

    def _wait(self, run: Run, step: int) -> None:
        file = run.job.section.wait_for
        while file and not Path(file).exists() and not run.stop_reason(step, {}):
            if newest_attempt(run.path) != run.attempt:
                break  # superseded: the next write will say so
            time.sleep(0.05)

    def _make_trouble(self, trouble: str) -> None:
        if trouble == "crash":
            error = RuntimeError("a crash was asked for")
            error.add_note("with a note")
            raise error
        if trouble == "mistake":
            raise UserError("a mistake was asked for")
        if trouble == "exit":
            sys.exit(0)
        if trouble == "end":
            os._exit(0)
        if trouble == "stop":
            os.kill(os.getpid(), signal.SIGTERM)


WORKLOAD = Toy()
