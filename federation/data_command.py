"""`covey data`: fetch the data sets that federated jobs name, and list them."""

from typing import Annotated

import typer

from covey.platform.cli.output import Json, note, print_json, print_table, say
from covey.platform.errors import UserError

app = typer.Typer(help="Fetch and list the data sets of federated jobs.", no_args_is_help=True)
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
