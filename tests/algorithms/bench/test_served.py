"""Processes that measure when asked to: the real ones, for a tenth of a second."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from covey.algorithms.bench.peer import script
from covey.algorithms.bench.rounds import Contender, in_turn
from covey.algorithms.bench.served import Served
from covey.platform.errors import UserError


@contextmanager
def served(command: list[str], settings: dict[str, Any]) -> Iterator[Served]:
    process = Served("it", command, settings)
    try:
        yield process
    finally:
        process.close()


def test_the_environment_alone_in_both_forms_and_in_two_processes() -> None:
    command = [sys.executable, script("environment_alone")]
    plain, batched = ({"env": "CartPole-v1", "batched": count} for count in (0, 64))
    with served(command, plain) as one, served(command, plain) as two:
        with served(command, batched) as many:
            for process in (one, two, many):
                process.wait_ready()
            contenders = [
                Contender("one", [one], "steps"),
                Contender("two", [one, two], "steps"),
                Contender("many", [many], "steps"),
            ]
            readings = in_turn(contenders, rounds=2, seconds=0.1)
    assert all(len(found) == 2 for found in readings.values())
    # Of a reading in which the machine paused nothing more is known.
    assert all(0 < rate < 100_000_000 for found in readings.values() for rate in found)
    assert all(max(found) > 1_000 for found in readings.values())


def test_the_last_line_of_a_process_that_ends_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('no such luck')")
    with served([sys.executable, str(broken)], {}) as process:
        with pytest.raises(UserError, match="it ended with status 1: no such luck"):
            process.wait_ready()


def test_a_process_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = tmp_path / "silent.py"
    silent.write_text("import sys; sys.stdin.read()")
    monkeypatch.setattr("covey.algorithms.bench.served.START_LIMIT_S", 0.2)
    with served([sys.executable, str(silent)], {}) as process:
        with pytest.raises(UserError, match="it did not answer within 0 s"):
            process.wait_ready()
