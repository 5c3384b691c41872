"""A `flower-superexec` that is ready: a client's process is forked from one that has imported all
that takes long.

Flower starts a Python for each message, which costs seconds of processor time, and on a machine so
busy that this takes 30 s its SuperNode gives the message to another one, and so on for ever. The
SuperNodes of a job find this one first on their PATH.
"""

import importlib
import shlex
import sys
from pathlib import Path

from covey.federation.superlink_internals import fork_clients

CODE = "from covey.federation.superexec import main; main({!r})"


def write_command(folder: Path, libraries: list[str]) -> None:
    """Put the command into a folder (made here); its clients' processes have these libraries."""
    folder.mkdir()
    command = folder / "flower-superexec"
    call = shlex.join([sys.executable, "-c", CODE.format(libraries)])
    command.write_text(f'#!/bin/sh\nexec {call} "$@"\n')
    command.chmod(0o700)


def libraries_of(app: Path) -> list[str]:
    """What the app in the folder probably imports of what takes long to."""
    source = "".join(file.read_text(errors="replace") for file in app.rglob("*.py"))
    return ["torch"] if "torch" in source or "covey.federation.apps" in source else []


def main(libraries: list[str]) -> None:
    """Serve the SuperNode that has started this, until its group is killed."""
    for name in libraries:
        importlib.import_module(name)
    options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
    fork_clients(options["--runtime-api-address"], options["--root-certificates"])
