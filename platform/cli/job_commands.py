"""Verbs on the scheduler's jobs: submit, jobs, show, logs, stop, scheduler."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from covey.platform.cli.output import Json, Overrides, note, print_json, print_table, say
from covey.platform.cli.result import say_where
from covey.platform.environment import covey_home
from covey.platform.errors import UserError

if TYPE_CHECKING:
    from covey.platform.jobs.job import Job, JobSummary

SHOWN_JOBS = 100

JobId = Annotated[
    str, typer.Argument(metavar="JOB", help="A job's id, or its name (the newest of it).")
]
Address = Annotated[
    str | None,
    typer.Option(
        help="The job server of a Ray cluster, e.g. http://127.0.0.1:8265, or "
        "kubernetes://NAMESPACE?context=NAME&cpus=16&gpus=2, where what follows the namespace may "
        "be left out. Default: a local Ray head of our own."
    ),
]


def submit(
    file: Annotated[Path, typer.Argument(help="The job file (YAML).")],
    overrides: Overrides = None,
    address: Address = None,
    no_scheduler: Annotated[
        bool, typer.Option("--no-scheduler", help="Start no scheduler in the background.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show progress until the job has ended.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Hand a job to the scheduler; one is started in the background if none runs."""
    from covey.platform.cli.waiting import wait_for
    from covey.platform.client import Client
    from covey.platform.jobfile.load import load_job_file

    if no_scheduler and address is not None:
        raise UserError("--address is for the scheduler that --no-scheduler leaves out: drop one")
    job = load_job_file(file, overrides or ())
    with Client() as client:
        # Before the job, so that a wrong address leaves none behind; and after it, for a scheduler
        # that ended in between because nothing was left to do.
        started = not no_scheduler and client.start_scheduler(address)
        job_id = client.submit(job)
        started = started or (not no_scheduler and client.start_scheduler(address))
        if started:
            note(f"scheduler started in the background; its log: {client.home / 'scheduler.log'}")
        if wait:
            raise typer.Exit(wait_for(client, job_id, as_json))
    if as_json:
        print_json({"job_id": job_id})
    else:
        say(job_id)
        note(f"watch it: covey logs -f {job_id}")


def jobs(
    everything: Annotated[
        bool, typer.Option("--all", help=f"Also those before the newest {SHOWN_JOBS}.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List jobs: what waits, runs and has ended."""
    from covey.platform.client import Client

    with Client() as client:
        rows = client.jobs(None if everything or as_json else SHOWN_JOBS + 1)
    if as_json:
        print_json([_summary(row) for row in rows])
        return
    shown = rows if everything else rows[-SHOWN_JOBS:]
    print_table(
        ("job", "state", "attempts", "submitted", "why"),
        [
            (row.job_id, row.state, row.num_attempts, _when(row.submitted_s), row.reason)
            for row in shown
        ],
    )
    if len(shown) < len(rows):
        note("older jobs are not shown: covey jobs --all")


def show(job: JobId, as_json: Json = False) -> None:
    """Show one job: where it stands, its attempts and its history."""
    from dataclasses import asdict

    from covey.platform.client import Client

    with Client() as client:
        found = client.show(job)
    if as_json:
        attempts = [asdict(attempt) for attempt in found.attempts]
        events = [asdict(event) for event in found.events]
        print_json(
            _summary(found) | {"run_dir": found.run_dir, "attempt_list": attempts, "events": events}
        )
        return
    say(f"{found.job_id}: {found.state}: {found.reason}")
    say_where(Path(found.run_dir))
    print_table(
        ("when", "state", "attempt", "why"),
        [
            (_when(event.time_s), event.state, event.attempt or "", event.reason)
            for event in found.events
        ],
    )


def logs(
    job: JobId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")
    ] = False,
) -> None:
    """Print the log of a job's run."""
    from covey.platform.client import Client

    with Client() as client:
        for line in client.logs(job, follow):
            say(line)


def stop(job: JobId, as_json: Json = False) -> None:
    """End a job; one that runs has its grace period to write a last checkpoint."""
    from covey.platform.client import Client
    from covey.platform.jobs.background import revive_scheduler
    from covey.platform.jobs.job import State

    with Client() as client:
        stopped = client.stop(job)
    if as_json:
        print_json(_summary(stopped))
    else:
        say(f"{stopped.job_id}: {stopped.state}")
    if stopped.state is State.STOPPING and revive_scheduler(client.home):
        note("no scheduler was at work: one is started in the background to end the job")


def scheduler(
    address: Address = None,
    stop_it: Annotated[
        bool, typer.Option("--stop", help="End the scheduler that is at work instead; jobs go on.")
    ] = False,
    alive: Annotated[
        bool,
        typer.Option("--alive", help="Only say whether one is at work; exit status 1 if none is."),
    ] = False,
) -> None:
    """Schedule in the foreground, until interrupted. Jobs that run then go on."""
    from covey.platform.jobs.background import at_work, stop_scheduler
    from covey.platform.jobs.daemon import run_scheduler

    if alive:
        lease = at_work(covey_home())
        if lease is None:
            say("no scheduler is at work")
            raise typer.Exit(1)
        say(f"process {lease.holder.pid} on {lease.holder.host} is at work")
    elif not stop_it:
        run_scheduler(covey_home(), address, say=say)
    elif stop_scheduler(covey_home()):
        say("the scheduler has ended")
    else:
        say("no scheduler is at work")


def _summary(row: "Job | JobSummary") -> dict[str, object]:
    return {
        "job_id": row.job_id,
        "name": row.name,
        "state": row.state.value,
        "attempts": row.num_attempts,
        "reason": row.reason,
        "priority": row.priority,
        "submitted_s": row.submitted_s,
    }


def _when(time_s: float) -> str:
    return time.strftime("%m-%d %H:%M:%S", time.localtime(time_s))
