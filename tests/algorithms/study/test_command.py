"""`covey study coded` as it is typed, by the model and once with real workers."""

import json

import pytest
from thread_crew import ThreadCrew
from typer.testing import CliRunner

from covey.algorithms.study.coded import CODES, Cell, compare, verdict, workers_of
from covey.algorithms.study.command import app
from covey.algorithms.study.measure import Setting
from covey.platform.coding import make_code
from covey.platform.coding.patterns import received_sets, share_decodable
from covey.platform.errors import UserError


def shown(*words):
    return CliRunner().invoke(app, ["coded", *map(str, words)], catch_exceptions=False)


DELAY_S = 60


def test_the_model_explains_the_published_table(tmp_path):
    """T(k) = T(0) + delay (1 - P(decodable)), and T(0) goes by the largest load."""
    out = tmp_path / "coded.png"
    # So long that what ldpc waits for six of 105 pairs is more than mds's longer work, also where
    # much else is at work while a task is measured.
    words = (
        f"--model-only --agents 8 --delay-s {DELAY_S} --stragglers 0 --stragglers 2 --json --out"
    )
    report = json.loads(shown(*words.split(), out).stdout)
    cells = {(cell["code"], cell["stragglers"]): cell["wide_s"] for cell in report["cells"]}
    assert {code for code, _ in cells} == set(CODES) and len(cells) == 2 * len(CODES)
    task_s = cells["uncoded", 0]
    for name in CODES:
        code = make_code(name, workers=8 if name == "uncoded" else 15, tasks=8)
        load = 1 if name in ("uncoded", "mds", "ldpc", "replication") else None
        if load:
            assert cells[name, 0] == pytest.approx(load * task_s, rel=0.01)
        chance = share_decodable(code.decodable, received_sets(code.workers, 2))
        waited = cells[name, 2] - cells[name, 0]
        if name in ("uncoded", "replication"):
            assert waited == pytest.approx(DELAY_S * (1 - chance), abs=0.1 * DELAY_S)
        if name in ("mds", "mds-dense"):
            assert waited < 8 * task_s
    assert cells["mds-dense", 0] == pytest.approx(8 * task_s, rel=0.01)
    assert report["picture"] == str(out) and out.read_bytes().startswith(b"\x89PNG")
    assert len(report["verdict"]) == 1 and "2: mds" in report["verdict"][0]


class Crew(ThreadCrew):
    """As `pool_of` wants one."""

    def pids(self):
        return [name for name, (worker,) in self.workers.items() if worker.target is not None]

    def close(self):
        pass


def test_workers_are_measured_beside_the_model():
    late_s = 4.0  # longer than what a busy machine adds to the mean of two iterations
    setting = Setting("simple_spread", 2, late_s, (0, 1, 3))
    cells = compare(setting, ("uncoded", "replication", "mds"), 2, Crew, batch_size=16)
    # Uncoded has two workers: three cannot be late.
    assert [(cell.code, cell.stragglers) for cell in cells if cell.code == "uncoded"] == [
        ("uncoded", 0),
        ("uncoded", 1),
    ]
    assert len(cells) == 8
    for cell in cells:
        low, high = cell.quartiles_s
        assert 0 < low <= high and cell.wide_s > 0
        waits = cell.code == "uncoded" and cell.stragglers == 1
        assert (cell.real_s > late_s) == waits
        assert (cell.here_s > late_s) == waits == (cell.wide_s > late_s)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--stragglers 16", "--stragglers 16: for 8 agents there are 15 workers; up to 15 can"),
        ("--agents 20 --stragglers 31", "for 20 agents there are 30 workers; up to 30 can"),
        ("--out missing/x.png", "--out missing/x.png: there is no folder missing"),
        ("--out x.docx", "--out x.docx: no kind of picture; .*jpg, pdf"),
        ("--env CartPole-v1", "only simple_spread, simple_tag"),
    ],
)
def test_what_cannot_be_studied_is_told_at_once(words, line):
    with pytest.raises(UserError, match=line):
        shown("--model-only", *words.split())


def test_more_agents_have_more_workers():
    assert [workers_of("mds", agents) for agents in (3, 8, 10, 11, 20)] == [15, 15, 15, 17, 30]
    assert workers_of("uncoded", 20) == 20
    heard = []
    setting = Setting("simple_spread", 12, 0.1, (0,))
    found = compare(setting, ("uncoded", "mds", "ldpc"), 1, None, 16, note=heard.append)
    assert [cell.code for cell in found] == ["uncoded", "mds"]
    assert len(heard) == 1 and "12 tasks go with 20, 25" in heard[0]


def test_the_verdict_names_the_fastest():
    def cell(code, stragglers, wide_s):
        return Cell("simple_tag", 8, 0.25, code, stragglers, None, None, 0.0, wide_s)

    cells = [cell("uncoded", 0, 1.0), cell("mds", 0, 2.0), cell("uncoded", 1, 3.0)]
    lines = verdict([*cells, cell("mds", 1, 2.0)])
    assert lines == [
        "simple_tag, 8 agents, 0.25 s late: fastest with so many stragglers is 0: uncoded, 1: mds"
    ]
