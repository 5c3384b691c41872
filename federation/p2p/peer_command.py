"""`covey peer`: one peer, of those that learn from each other on different machines."""

from pathlib import Path
from typing import Annotated

import typer

from covey.platform.cli.output import Json, note, print_json
from covey.platform.cli.result import print_result
from covey.platform.errors import UserError


def peer(
    config: Annotated[
        Path,
        typer.Option(help="The peer's file, as `covey peers init` makes it.", metavar="FILE"),
    ],
    job: Annotated[
        Path | None,
        typer.Option(
            metavar="JOB",
            help="The job file, the same for all peers. Default: what the peer's file names.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run one peer; started again, it goes on from its checkpoint, or where its neighbours are."""
    from covey.platform.environment import silence_grpc, threads_give_way

    silence_grpc()
    threads_give_way()
    from covey.federation.p2p.peer_run import open_peer, run_peer
    from covey.platform.cli.progress import show_progress
    from covey.platform.driver import run_attempt
    from covey.platform.runs.result import read_result

    loaded, checked = open_peer(config, job)
    path = Path(loaded.run_dir)
    note(f"{loaded.peer} listens on {loaded.listen}, run folder: {path}")
    note(f"waiting up to {loaded.wait_s:g} s for its neighbours")
    with show_progress(checked) as on_report:
        end = run_attempt(path, on_report=on_report, work=lambda run: run_peer(run, loaded))
    result = read_result(path)
    if end.state == "superseded" or not result:
        raise UserError(end.error or f"{path}: the peer left no result.json; see log.txt there")
    if as_json:
        print_json(result)
    else:
        print_result(result)
    raise typer.Exit(end.exit_status)
