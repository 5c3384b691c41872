"""The README is the manual: every command stands in it, and every command explains itself."""

from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from covey.platform.cli.app import app

README = (Path(__file__).parents[2] / "README.md").read_text()
COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_in_the_readme_and_has_help(command: str) -> None:
    assert f"covey {command}" in README
    shown = CliRunner().invoke(app, [command, "--help"])
    assert shown.exit_code == 0
    assert len(shown.output.splitlines()) > 4


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_is_for(command: str) -> None:
    parameters = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    for parameter in parameters:
        assert isinstance(parameter, click.Parameter)
        assert getattr(parameter, "help", None), f"covey {command}: {parameter.name} has no help"
