"""Verbs on one run folder, in the foreground: run, resume, evaluate, plot."""

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from covey.platform.cli.output import Json, Overrides, figure, note, print_json, print_table, say
from covey.platform.cli.result import print_result
from covey.platform.environment import covey_home
from covey.platform.errors import UserError

MAY_CHANGE = ("stop", "checkpoint", "resources", "retries", "grace_s")

RunDir = Annotated[str, typer.Argument(metavar="RUN_DIR", help="A run folder, or the id of a job.")]


def run(
    file: Annotated[Path, typer.Argument(help="The job file (YAML).")],
    overrides: Overrides = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(help="The run folder: new or empty. Default: under COVEY_HOME/runs."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a job here and now, with a progress bar."""
    from covey.platform.jobfile.load import load_job_file
    from covey.platform.runs.folder import RunFolder

    job = load_job_file(file, overrides or ())
    if job.after:
        note(f"after: {', '.join(job.after)} is not waited for here, only by `covey submit`")
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path = run_dir or covey_home() / "runs" / f"{job.name}-{stamp}-{os.urandom(2).hex()}"
    RunFolder.create(path.absolute(), job)
    _train(path.absolute(), as_json)


def resume(
    run_dir: RunDir,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Go on with a run from its last whole checkpoint; --set may extend its stop conditions."""
    from covey.platform.jobfile.load import load_job_file
    from covey.platform.runs.folder import RunFolder
    from covey.platform.runs.result import read_result
    from covey.platform.runs.run import live_writer
    from covey.platform.workload import find_workload

    path = find_run(run_dir)
    folder = RunFolder.open(path)
    if not folder.is_a_runs:
        raise UserError(f"{path} is no run folder: it holds a job.yaml, but no run began there")
    _refuse_live_job(path)
    if overrides:
        _refuse_other_changes(overrides, find_workload(folder.job().workload).may_change)
    job = load_job_file(path / "job.yaml", overrides or ())
    if writer := live_writer(path):
        raise UserError(f"{path} is being written by process {writer}: stop that run first")
    result = read_result(path)
    if result.get("state") == "succeeded" and not overrides:
        _print(result, as_json)
        return
    if overrides:
        folder.replace_job(job)
    _train(path, as_json)


def evaluate(
    run_dir: RunDir,
    episodes: Annotated[int, typer.Option(min=1, help="How many episodes to average over.")] = 10,
    as_json: Json = False,
) -> None:
    """Measure the newest whole checkpoint of a run, with the most likely actions."""
    from covey.platform.environment import prepare_libraries
    from covey.platform.jobfile.load import load_job_file
    from covey.platform.workload import find_workload

    path = find_run(run_dir)
    prepare_libraries(own_ray=True)
    workload = find_workload(load_job_file(path / "job.yaml").workload)
    result = dict(workload.evaluate(path, episodes))
    if as_json:
        print_json(result)
    else:
        print_table(("metric", "value"), [(name, figure(value)) for name, value in result.items()])


def plot(run_dir: RunDir, as_json: Json = False) -> None:
    """Draw the learning curves of a run again, and its other pictures, and say where they are."""
    from covey.platform.runs.plots import draw_pictures

    pictures = [str(path) for path in draw_pictures(find_run(run_dir))]
    if as_json:
        print_json({"picture": pictures[0], "pictures": pictures})
    else:
        for picture in pictures:
            say(picture)


def find_run(name: str) -> Path:
    """The run folder a user means: a path, or a name under COVEY_HOME/runs."""
    for path in (Path(name), covey_home() / "runs" / name):
        if (path / "job.yaml").is_file():
            return path.absolute()
    raise UserError(
        f"{name}: no run folder (one holds a job.yaml), neither here nor in {covey_home() / 'runs'}"
    )


def _train(path: Path, as_json: bool) -> None:
    from covey.platform.cli.progress import show_progress
    from covey.platform.driver import run_attempt
    from covey.platform.jobfile.load import load_job_file
    from covey.platform.runs.result import read_result

    note(f"run folder: {path}")
    with show_progress(load_job_file(path / "job.yaml")) as on_report:
        end = run_attempt(path, on_report=on_report)
    result = read_result(path)
    if end.state == "superseded" or not result:
        raise UserError(end.error or f"{path}: the run left no result.json; see log.txt there")
    _print(result, as_json)
    raise typer.Exit(end.exit_status)


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(result)
    else:
        print_result(result)


def _refuse_live_job(path: Path) -> None:
    """A job that the scheduler still looks after is its business."""
    from covey.platform.client import Client
    from covey.platform.jobs.job import TERMINAL

    if path.parent != covey_home() / "runs" or not (covey_home() / "covey.db").exists():
        return
    with Client() as client:
        for row in client.jobs():
            if row.run_dir == str(path) and row.state not in TERMINAL:
                raise UserError(f"job {row.job_id} is {row.state}: end it first with `covey stop`")


def _refuse_other_changes(overrides: list[str], of_workload: frozenset[str]) -> None:
    allowed = (*MAY_CHANGE, *sorted(of_workload))
    for override in overrides:
        key = override.split("=")[0].strip()
        if not any(key == one or key.startswith(f"{one}.") for one in allowed):
            raise UserError(
                f"--set {key}: a run that has begun may change only {', '.join(allowed)}; "
                "start a new run for the rest"
            )
