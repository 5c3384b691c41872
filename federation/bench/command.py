"""`covey bench` with all its comparisons: those of `covey.algorithms`, and `federated`."""

import os
from typing import Annotated

import typer

from covey.algorithms.bench.command import app
from covey.platform.cli.output import Json

__all__ = ["app"]


@app.command()
def federated(
    against: Annotated[
        str, typer.Option(help="The peers, with commas between them: flower, pfl, fedjax, or none.")
    ] = "flower,pfl,fedjax",
    work: Annotated[
        str | None,
        typer.Option(
            help="With commas between them: logistic, mlp, messages (what a message costs). "
            "Default: all but messages."
        ),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=3, help="Rounds of a run; default: as many as the work has.")
    ] = None,
    times: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 3,
    as_json: Json = False,
) -> None:
    """Federated rounds/s, seconds and memory of whole runs: our engines, loops, simulators."""
    from covey.federation.bench.compare import compare
    from covey.federation.bench.contenders import chosen_federated_peers
    from covey.federation.bench.table import print_report
    from covey.federation.bench.works import chosen_works

    works, peers = chosen_works(work), chosen_federated_peers(against)
    report = compare(works, peers, rounds, times, len(os.sched_getaffinity(0)))
    print_report(report, as_json)
    if report.disagreeing:
        raise typer.Exit(1)
