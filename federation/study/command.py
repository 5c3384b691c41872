"""`covey study` with all its comparisons: those of `covey.algorithms`, and `fedgen`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from covey.algorithms.study.command import app
from covey.platform.cli.output import Json, note, print_json, print_table, say
from covey.platform.errors import UserError

if TYPE_CHECKING:
    from covey.federation.study.cells import Cell
    from covey.federation.study.folder import StudyFolder
    from covey.federation.study.plan import Plan

__all__ = ["app"]

Share = Annotated[
    float,
    typer.Option(min=0, max=0.9, help="Share of the training samples that no client has."),
]


@app.command()
def fedgen(
    part: Annotated[
        str, typer.Option(help="What is compared: table, head, ablations or pairs.")
    ] = "table",
    method: Annotated[
        list[str] | None, typer.Option(help="Only this row of the part; repeatable.")
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="Only this data set, or another; repeatable.")
    ] = None,
    alpha: Annotated[
        list[float] | None, typer.Option(min=1e-3, help="Only this alpha, or another; repeatable.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="How many; default: as many as the part has.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Of a run.")] = 100,
    rate: Annotated[
        list[float] | None,
        typer.Option(min=1e-9, help="A learning rate to try; repeatable. One alone is taken."),
    ] = None,
    network: Annotated[
        str, typer.Option("--app", help="The built-in app that is trained.")
    ] = "strided-cnn",
    public: Share = 0.1,
    order: Annotated[
        str, typer.Option(help="In which clients go over their data: shuffled or by-label.")
    ] = "shuffled",
    out: Annotated[
        Path, typer.Option(help="The study's folder: it goes on there, and begins in a new one.")
    ] = Path("fedgen-study"),
    as_json: Json = False,
) -> None:
    """Methods of federated distillation against FedAvg: accuracy by rounds and by traffic."""
    from covey.federation.study.cells import Cell, compare, document
    from covey.federation.study.folder import study_folder
    from covey.federation.study.parts import PARTS, checked, narrowed
    from covey.federation.study.plan import RATES, Plan
    from covey.federation.study.progress import Progress
    from covey.federation.study.trials import Trials
    from covey.platform.client import Client

    (name,) = checked("--part", [part], PARTS)
    chosen = narrowed(PARTS[name], method or (), data or (), alpha or (), seeds)
    plan = Plan(chosen, rounds, network, public, order, tuple(rate or RATES))
    _check(plan)
    cells: list[Cell] = []
    with study_folder(out) as folder, Client() as client:
        try:
            for found in compare(plan, Trials(plan, client, folder, Progress(plan, note))):
                cells += found
                _write(folder, name, plan, cells)
        except KeyboardInterrupt:
            note("interrupted: jobs under way go on by themselves, and the same command goes on")
            raise typer.Exit(130) from None
    if as_json:
        print_json(document(plan, cells, curves=False) | {"folder": str(out)})
        return
    _show(cells)
    say(f"tables, pictures and all numbers: {out}")


def _check(plan: "Plan") -> None:
    """Raise UserError for what no job can be made of, before any is."""
    from covey.federation.data import missing_data
    from covey.federation.study.plan import Trial
    from covey.platform.jobfile.load import parse_job_file

    for setting in plan.part.settings:
        for row in plan.part.rows:
            job = plan.job(Trial(row, setting, 1, plan.rates[0], plan.rounds), "")
            parse_job_file(job, Path.cwd(), f"{row.label}, {setting}")
        if reason := missing_data(setting.data):
            raise UserError(reason)


def _write(folder: "StudyFolder", part: str, plan: "Plan", cells: "list[Cell]") -> None:
    """All tables and pictures of what is known so far."""
    from covey.federation.study.cells import document
    from covey.federation.study.picture import draw_curves, draw_differences
    from covey.federation.study.record import METRICS
    from covey.federation.study.table import markdown

    numbers = json.dumps(document(plan, cells), indent=1, allow_nan=False)
    folder.write(f"{part}.json", numbers.encode())
    folder.write(f"{part}.md", markdown(plan, cells).encode())
    for metric in METRICS:
        folder.write(f"{part}-{metric}-by-round.png", draw_curves(cells, metric, "round"))
        folder.write(f"{part}-{metric}-by-traffic.png", draw_curves(cells, metric, "megabytes"))
    if any(cell.difference("accuracy", cells) for cell in cells):
        folder.write(f"{part}-differences.png", draw_differences(cells))


def _show(cells: "list[Cell]") -> None:
    from covey.federation.study.record import METRICS
    from covey.federation.study.table import percent, points

    for setting in dict.fromkeys(cell.setting for cell in cells):
        say(f"\n{setting}")
        print_table(
            ("method", "rate", "MB", "accuracy %", "seen labels %", "difference"),
            (
                (
                    cell.row.label,
                    f"{cell.rate:g}",
                    f"{cell.megabytes:.1f}",
                    *(percent(cell.spread(metric)) for metric in METRICS),
                    points(cell.difference("accuracy", cells)),
                )
                for cell in cells
                if cell.setting == setting
            ),
        )
