"""Verbs on the scheduler's jobs: submit, jobs, show, logs, stop, scheduler."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from covey.platform.cli.output import Json, Overrides, figure, note, print_json, print_table, say

SHOWN_JOBS = 100

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The id of a job, as `covey jobs` lists it.")]
Address = Annotated[
    str | None,
    typer.Option(help="The job server of a Ray cluster, e.g. http://127.0.0.1:8265. Default: one of our own."),
]
