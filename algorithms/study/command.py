"""`covey study`: the command line of the studies."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from covey.platform.cli.output import Json, figure, note, print_json, print_table, say
from covey.platform.runtime.crew import Crew

app = typer.Typer(
    help="Regenerate comparisons of methods: tables and a picture.", no_args_is_help=True
)


@app.callback()
def _before() -> None:
    from covey.platform.environment import prepare_libraries

    prepare_libraries()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


@app.command()
def coded(
    env: Annotated[
        list[str] | None, typer.Option(help="A particle environment; repeatable.")
    ] = None,
    agents: Annotated[list[int] | None, typer.Option(min=2, help="How many; repeatable.")] = None,
    delay_s: Annotated[float, typer.Option(min=0, help="How late stragglers are.")] = 0.25,
    stragglers: Annotated[
        list[int] | None, typer.Option(min=0, help="In each iteration; repeatable.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Real iterations of each.")] = 20,
    model_only: Annotated[bool, typer.Option(help="No real workers: the model alone.")] = False,
    out: Annotated[Path, typer.Option(help="Where the picture goes.")] = Path("coded.png"),
    as_json: Json = False,
) -> None:
    """Iteration time of MADDPG's updates under each code, against stragglers and their delay."""
    from covey.algorithms.study.coded import CODES, Cell, check, compare, verdict
    from covey.algorithms.study.measure import Setting
    from covey.algorithms.study.picture import check_picture, draw

    numbers, late = agents or [8], tuple(stragglers or (0, 1, 2, 4, 7, 8))
    check(numbers, late)
    check_picture(out)
    found: list[Cell] = []
    with ExitStack() as stack:
        make_crew = None if model_only else stack.enter_context(private_ray())
        for name in env or ["simple_spread"]:
            for count in numbers:
                note(f"{name} with {count} agents")
                setting = Setting(name, count, delay_s, late)
                found += compare(setting, CODES, rounds, make_crew, note=note)
    draw(found, out)
    lines = verdict(found)
    if as_json:
        cells = [cell.to_record() for cell in found]
        print_json({"cells": cells, "verdict": lines, "picture": str(out)})
        return
    print_table(
        ["environment", "agents", "code", "stragglers", "real s", "model s", "a core each s"],
        (
            [
                cell.env,
                cell.agents,
                cell.code,
                cell.stragglers,
                "" if cell.real_s is None else figure(cell.real_s),
                figure(cell.here_s),
                figure(cell.wide_s),
            ]
            for cell in found
        ),
    )
    for line in lines:
        say(line)
    say(f"picture: {out}")


@contextmanager
def private_ray() -> Iterator[Callable[[], Crew]]:
    """Makes crews of real actors, one after another, on one private Ray."""
    from covey.platform.jobfile.model import Resources
    from covey.platform.runtime.actors import RayCrew

    cores = float(len(os.sched_getaffinity(0)))
    crew = RayCrew(Resources(cpus=cores), 1)
    try:
        yield crew.helpers()
    finally:
        crew.close()
