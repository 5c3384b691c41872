"""`covey data`: fetch the data sets of federated jobs, list them, and show how one is dealt out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from covey.platform.cli.output import Json, Overrides, note, print_json, print_table, say
from covey.platform.errors import UserError

if TYPE_CHECKING:
    from covey.federation.partition_table import PartitionTable
    from covey.platform.jobfile.model import JobFile

app = typer.Typer(
    help="Fetch and list the data sets of federated jobs, and show how one is dealt out.",
    no_args_is_help=True,
)
MAX_ROWS = 50
MAX_COLUMNS = 20
Name = Annotated[str, typer.Argument(help="digits, mnist or fashion-mnist.")]


@app.command()
def get(name: Name, as_json: Json = False) -> None:
    """Download a data set, check it and keep it under COVEY_HOME."""
    from covey.federation.catalogue import DATA_SETS
    from covey.federation.download import fetch
    from covey.platform.jobfile.nearest import nearest

    if name not in DATA_SETS:
        near = nearest(name, DATA_SETS)
        raise UserError(
            f"no data set is called {name!r}; known: {', '.join(DATA_SETS)}"
            + (f"; nearest: {near}" if near else "")
        )
    data_set = DATA_SETS[name]
    was_there = data_set.present
    if not was_there:
        fetch(data_set, note)
    if as_json:
        print_json({"name": name, "folder": str(data_set.folder) if data_set.sha256 else None})
    elif not data_set.sha256:
        say(f"{name} is {data_set.source}: nothing to fetch")
    else:
        say(f"{name} {'was already' if was_there else 'is now'} in {data_set.folder}")


@app.command("list")
def list_data_sets(as_json: Json = False) -> None:
    """The data sets that can be named in a job file, and which are on this machine."""
    from covey.federation.catalogue import DATA_SETS

    if as_json:
        print_json(
            [
                {
                    "name": data_set.name,
                    "present": data_set.present,
                    "train": data_set.train,
                    "test": data_set.test,
                    "source": data_set.source,
                    "folder": str(data_set.folder) if data_set.sha256 else None,
                }
                for data_set in DATA_SETS.values()
            ]
        )
        return
    print_table(
        ("name", "here", "train", "test", "pixels", "source"),
        (
            (
                data_set.name,
                "yes" if data_set.present else f"covey data get {data_set.name}",
                f"{data_set.train:,}",
                f"{data_set.test:,}",
                f"{data_set.height}x{data_set.width}",
                data_set.source,
            )
            for data_set in DATA_SETS.values()
        ),
    )


@app.command()
def split(
    file: Annotated[Path, typer.Argument(metavar="JOB.yaml", help="A federated job's file.")],
    overrides: Overrides = None,
    png: Annotated[
        Path | None, typer.Option("--png", metavar="FILE", help="Also draw it into this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show which client would get how many samples of which class, without training."""
    from covey.platform.jobfile.load import load_job_file

    job = load_job_file(file, overrides or ())
    if job.workload not in ("federated", "peer-to-peer") or job.section.data is None:
        raise UserError(f"{file} is no federated job with a built-in app: no data to deal out")
    table = _table(job)
    if png is not None:
        _write_picture(table, png)
    if as_json:
        print_json(table.document())
        return
    say(table.summary())
    _print_clients(table)


def _table(job: "JobFile") -> "PartitionTable":
    from covey.federation.partition_table import partition_table, table_of

    if job.workload == "federated":
        return partition_table(job)
    from covey.federation.p2p.task import Task

    return table_of(Task.of(job).settings, job.section.peers)


def _write_picture(table: "PartitionTable", png: Path) -> None:
    from covey.federation.partition_picture import draw

    try:
        png.write_bytes(draw(table))
    except OSError as error:
        raise UserError(f"--png {png} cannot be written: {error.strerror or error}") from None


def _print_clients(table: "PartitionTable") -> None:
    """A row a client, a column a class; of very many clients the first, of very many classes the
    most common.
    """
    wide = table.counts.shape[1] > MAX_COLUMNS
    names = (
        ["most common classes"] if wide else [f"{name}" for name in range(table.counts.shape[1])]
    )
    rows = []
    for client in table.document()["clients"][:MAX_ROWS]:
        counts: list[int] = client["by_class"]
        common = sorted(range(len(counts)), key=lambda name: -counts[name])[:5]
        told = [", ".join(f"{name}: {counts[name]:,}" for name in common if counts[name])]
        cells = told if wide else [f"{count:,}" if count else "" for count in counts]
        name = client.get("id", client["client"])
        rows.append((name, f"{client['samples']:,}", f"{client['held_out']:,}", *cells))
    print_table(("client", "samples", "held out", *names), rows)
    if len(table.counts) > MAX_ROWS:
        note(f"the first {MAX_ROWS} of {len(table.counts):,} clients; all of them: --json")
