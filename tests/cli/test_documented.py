"""The README is the manual: every command stands in it, and what stands in it is true."""

import ast
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
import typer
from click.testing import CliRunner

from covey.platform.cli.app import app
from covey.platform.client import Client
from covey.platform.jobfile.load import load_job_file

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DEMO = (ROOT / "deploy" / "demo.sh").read_text()


def command_line() -> click.Group:
    """The whole command line: with the groups that other rooms add."""
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group)
    for entry in entry_points(group="covey.commands"):
        loaded = entry.load()
        if not isinstance(loaded, typer.Typer):
            alone = typer.Typer(add_completion=False)
            alone.command()(loaded)
            loaded = alone
        group.add_command(typer.main.get_command(loaded), entry.name)
    return group


def commands(group: click.Group, above: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command by its full name; a group stands for the commands in it."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, f"{above}{name} ")
        else:
            yield above + name, command


COVEY = command_line()
COMMANDS = dict(commands(COVEY))


def test_commands_of_other_rooms_are_among_them() -> None:
    assert {"run", "submit", "doctor", "data get", "data list"} <= COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_in_the_readme_and_has_help(name: str) -> None:
    assert f"covey {name}" in README
    shown = CliRunner().invoke(COVEY, [*name.split(), "--help"])
    assert shown.exit_code == 0
    assert len(shown.output.splitlines()) > 4


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is_for(name: str) -> None:
    for parameter in COMMANDS[name].params:
        assert isinstance(parameter, click.Parameter)
        assert getattr(parameter, "help", None), f"covey {name}: {parameter.name} has no help"


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def written_commands() -> list[str]:
    """Every `covey …` of the README's text and consoles, and every one that the demo runs."""
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    consoles = "\n".join(blocks("console"))
    return sorted(
        {
            *re.findall(r"`covey ([a-z][^`]*)`", prose),
            *re.findall(r"^\$ covey (.+)$", consoles, re.MULTILINE),
            *re.findall(r"\bcovey ([a-z][^|)\n]*)", re.sub("#.*", "", DEMO)),
        }
    )


def parse(line: str) -> None:
    """Read a command line as `covey` does, and run nothing; raises click.UsageError."""
    # Optional parts and repetition are to be left out or not: here they are not.
    line = re.sub(r"\[(.*?)\]…?", r"\1", line.split(" > ")[0])
    words = ["3" if word == "N" else word for word in shlex.split(line)]
    group: click.Group = COVEY
    name, command, rest = group.resolve_command(click.Context(group), words)
    while isinstance(command, click.Group):
        name, command, rest = command.resolve_command(click.Context(command), rest)
    assert command is not None
    command.make_context(name, rest)


def test_the_reader_of_commands_finds_them_and_refuses_wrong_ones() -> None:
    found = written_commands()
    assert {"submit cartpole-ppo.yaml --wait", "data get mnist", "logs -f JOB"} <= set(found)
    assert 'show "$job"' in " ".join(found)
    for wrong in (
        "sumbit FILE",
        "run",
        "run FILE --fast",
        "evaluate DIR --episodes x",
        "data put x",
    ):
        with pytest.raises(click.UsageError):
            parse(wrong)


@pytest.mark.parametrize("line", written_commands())
def test_a_written_command_is_one_of_the_command_line(line: str) -> None:
    parse(line)


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda block: block.split("\n")[0])
def test_a_job_file_of_the_readme_can_be_used(block: str, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(block)
    assert f"name: {load_job_file(file).name}\n" in block


def test_the_client_has_the_verbs_that_the_readme_names_and_no_others() -> None:
    (names,) = re.findall(
        r"a `Client` has the verbs on the scheduler's jobs: (.*?):\n", README, re.S
    )
    verbs = {name for name in vars(Client) if not name.startswith("_")} - {"close"}
    assert set(re.findall(r"`(\w+)`", names)) == verbs


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.split("\n")[0])
def test_the_readmes_python_names_what_there_is(block: str) -> None:
    for line in ast.walk(ast.parse(block)):
        if isinstance(line, ast.ImportFrom):
            module = import_module(line.module or "")
            assert all(hasattr(module, name.name) for name in line.names)
