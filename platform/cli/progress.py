"""A job's progress while somebody watches: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache

from covey.platform.cli.output import figure, note
from covey.platform.jobfile.model import JobFile
from covey.platform.runs.metrics import OnReport
from covey.platform.workload import Illustrated, find_workload

LINE_EVERY_S = 10.0
SHOWN = ("episode_return_mean", "accuracy", "loss", "sampling_hz")


@contextmanager
def show_progress(job: JobFile) -> Iterator[OnReport]:
    """Yields what to call at each report. Everything goes to standard error."""
    if sys.stderr.isatty():
        with _bar(job) as on_report:
            yield on_report
    else:
        yield _lines(job)


def describe(job: JobFile, step: int, metrics: Mapping[str, float]) -> str:
    """One line on where a job stands: `120,000 env steps · episode_return_mean 211.4 (to 475)`."""
    unit, headline = _of_workload(job.workload)
    parts = [f"{step:,} {unit}"]
    for name in SHOWN:
        if name in metrics:
            goal = getattr(job.stop, name, None)
            wanted = f" (to {figure(goal)})" if goal is not None else ""
            parts.append(f"{name} {figure(metrics[name])}{wanted}")
    return " · ".join([*parts, *headline(metrics)])


@cache
def _of_workload(name: str) -> tuple[str, Callable[[Mapping[str, float]], Sequence[str]]]:
    """Its unit of steps, and what it says of where a run stands; to look it up takes a while."""
    found = find_workload(name)
    headline = found.headline if isinstance(found, Illustrated) else lambda metrics: ()
    return found.step_unit.replace("_", " "), headline


def _lines(job: JobFile) -> OnReport:
    last = -LINE_EVERY_S

    def on_report(step: int, metrics: Mapping[str, float]) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LINE_EVERY_S:
            last = now
            note(f"{job.name}: {describe(job, step, metrics)}")

    return on_report


@contextmanager
def _bar(job: JobFile) -> Iterator[OnReport]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    total = job.stop.env_steps or job.stop.rounds
    columns = (
        TextColumn(job.name, markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("starting", total=total)

        def on_report(step: int, metrics: Mapping[str, float]) -> None:
            progress.update(task, completed=step, description=describe(job, step, metrics))

        yield on_report
