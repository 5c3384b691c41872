"""What people read: tables and progress show a text as it is, whatever is in it."""

import re
from pathlib import Path
from typing import Any

import pytest

from covey.platform.cli.output import print_table
from covey.platform.cli.progress import show_progress
from covey.platform.jobfile.load import parse_job_file

BRACKETS = ["KeyError: [/red]", "array([1, 2])", "[bold]", "[/]"]


@pytest.mark.parametrize("text", BRACKETS)
def test_brackets_in_a_table_are_text(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("job", "why"), [("a-1", text)])
    assert text in capsys.readouterr().out


def test_brackets_in_progress_are_text(
    toy_job: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("covey.platform.cli.progress.SHOWN", ("[/red]",))
    monkeypatch.setenv("COLUMNS", "200")
    with show_progress(parse_job_file(toy_job, tmp_path)) as on_report:
        on_report(3, {"[/red]": 0.5})
    assert re.search(r"3 env steps · \[/red\] 0.5", capsys.readouterr().err)
