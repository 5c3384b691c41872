"""`covey bench` as it is typed, with next to no time to measure in."""

import json

import pytest
from typer.testing import CliRunner

from covey.algorithms.bench.command import app
from covey.algorithms.bench.report import OURS, Report
from covey.algorithms.bench.table import print_report


def test_sampling_measures_ours_beside_the_environment_alone() -> None:
    words = "sampling --env CartPole-v1 --against none --rounds 1 --seconds 0.1 --json".split()
    shown = CliRunner().invoke(app, words, catch_exceptions=False)
    report = json.loads(shown.stdout.splitlines()[-1])
    assert report["bench"] == "sampling"
    assert report["machine"]["cpus"] >= 1
    alone = "environment alone"
    assert [found["contender"] for found in report["figures"]] == [
        OURS,
        *(f"{alone}, {many}" for many in ("1 process", "2 processes")),
        *(f"{alone}, batched form, {many}" for many in ("1 process", "2 processes")),
    ]
    assert all(found["spread"]["median"] > 1_000 for found in report["figures"])


def test_a_table_leaves_out_what_nobody_has(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("update", "how to read it", {}, {})
    report.add("batch 256", "updates/s", {OURS: [200.0], "SB3": [80.0]}, {OURS: 0.5})
    report.add("replay", "batches/s", {OURS: [7.0]})
    print_report(report, as_json=False)
    updates, replay = capsys.readouterr().out.split("replay\n")
    assert updates.startswith("batch 256\n")
    assert "2.50 x" in updates and "0.50" in updates and "of peak" in updates
    assert "solved" not in updates and "of peak" not in replay
    assert replay.endswith("how to read it\n")
