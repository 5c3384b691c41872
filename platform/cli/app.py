"""The `covey` command. Each verb imports what it needs when called: `covey --help` stays quick."""

import errno
import gc
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import NoReturn

import typer
import typer.core

from covey.platform.cli import info_commands, job_commands, render_command, run_commands
from covey.platform.errors import UserError
from covey.platform.exit_status import ExitStatus

typer.core.HAS_RICH = False  # plain help: importing rich for it would double the wait

app = typer.Typer(
    help="Train reinforcement-learning agents and federated models on Ray, from one job file.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
VERBS: tuple[Callable[..., None], ...] = (
    run_commands.run,
    run_commands.resume,
    run_commands.evaluate,
    run_commands.plot,
    job_commands.submit,
    job_commands.jobs,
    job_commands.show,
    job_commands.logs,
    job_commands.stop,
    job_commands.scheduler,
    render_command.render,
    info_commands.schema,
    info_commands.doctor,
)
for verb in VERBS:
    app.command()(verb)

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
WRONG_PATH = (
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
)
"""What the system answers to a path that only its user can mend (--run-dir, COVEY_HOME)."""


def main() -> None:
    """Run the command line; a user's mistake is one clear line, never a traceback."""
    gc.set_threshold(
        50_000
    )  # imports make many objects and no garbage: looking for it costs a tenth
    for entry in sorted(entry_points(group="covey.commands"), key=lambda entry: entry.name):
        loaded = entry.load()
        if isinstance(loaded, typer.Typer):
            app.add_typer(loaded, name=entry.name)
        else:
            app.command(entry.name)(loaded)
    try:
        app()
    except UserError as error:
        _fail(str(error), error.exit_status)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has left: nobody to say anything to
        sys.exit(141)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except OSError as error:
        _tell(error)


def _tell(error: OSError) -> None:
    """One line for what a user can mend on the machine; anything else is raised on."""
    if error.errno in FULL_DISK:
        name = error.filename or "no file named"
        _fail(f"the disk is full ({name}): free some room and try again", ExitStatus.FAILED)
    if error.errno in WRONG_PATH and error.filename:
        _fail(f"{error.filename}: {error.strerror}", ExitStatus.USER_MISTAKE)
    raise error


def _fail(message: str, exit_status: int) -> NoReturn:
    for line in message.splitlines():
        sys.stderr.write(f"covey: {line}\n")
    sys.exit(exit_status)
