"""`rl.coded`: which codes it gives, and what it says where there is none."""

import time
from types import SimpleNamespace

import pytest

from covey.algorithms.auto_codes import codes_for_results, codes_for_sums
from covey.algorithms.coded import Coded, Inject
from covey.algorithms.workload import WORKLOAD
from covey.platform.coding.exact import byte_code
from covey.platform.coding.patterns import received_sets
from covey.platform.errors import KeyProblem, UserError
from covey.platform.jobfile.load import parse_job_file


def described(codes):
    return [(code.name, code.workers) for code in codes]


@pytest.mark.parametrize(
    ("asked", "workers"),
    [
        ({"code": "uncoded"}, 8),
        ({"code": "replication"}, 8),
        ({"code": "replication", "tolerate": 1}, 16),
        ({"code": "mds"}, 8),
        ({"code": "mds", "tolerate": 7}, 15),
        ({"code": "mds", "tolerate": 9}, 17),
        ({"code": "mds", "tolerate": 9, "exact": True}, 17),
        ({"code": "mds-dense", "tolerate": 3}, 11),
        ({"code": "ldpc"}, 15),
        ({"code": "ldpc", "tolerate": 2}, 16),
        ({"code": "mds", "workers": 20, "tolerate": 2}, 20),
        ({"code": "fractional-repetition", "tolerate": 1}, 8),
        ({"code": "cyclic", "tolerate": 2}, 8),
    ],
)
def test_as_many_workers_as_are_needed(asked, workers):
    code = Coded(**asked).make(8, 0)
    assert code.workers == workers
    assert code.tolerance >= asked.get("tolerate", 0) or asked.get("exact")


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"code": "uncoded", "tolerate": 1}, "without any 0, not 1; mds with workers=9 can"),
        ({"code": "mds", "workers": 15, "tolerate": 15}, "any 7, not 15; workers=23 can"),
        ({"code": "mds", "workers": 6}, "6 workers are too few for 8 tasks; workers=8 or more"),
        ({"code": "ldpc", "workers": 17}, "8 tasks go with 15, 16, 21, 25, 32 workers"),
        ({"code": "cyclic", "workers": 6}, "workers: 8 or rl.learners.count: 6"),
        ({"code": "fractional-repetition", "tolerate": 9}, "possible are 0, 1, 3, 7"),
        ({"code": "mds-dense", "exact": True}, "mds-dense has no exact form"),
        (
            {"code": "ldpc", "workers": 15, "tolerate": 2, "exact": True},
            "exactly, 15 workers for 8 tasks can do without any 1, not 2; mds with workers=10",
        ),
        (
            {"code": "mds", "workers": 15, "tolerate": 8, "exact": True},
            "without any 7, not 8; mds with workers=16",
        ),
        (
            {"inject": {"stragglers": 16}, "workers": 15},
            "inject.stragglers: mds has 15 workers, so no more can be late, and not 16",
        ),
        (
            {"inject": {"workers": (3, 15)}, "workers": 15},
            "inject.workers: mds has 15 workers, 0 to 14; there is no worker 15",
        ),
    ],
)
def test_what_cannot_be_had_is_told_with_what_can(asked, line):
    with pytest.raises(UserError, match=line) as caught:
        Coded(**{**asked, "inject": Inject(**asked.get("inject", {}))}).check(8, sums=False)
    assert str(caught.value).startswith("rl.coded") and len(str(caught.value)) < 250


def test_auto_has_the_most_redundant_code_first():
    assert described(Coded(code="auto").codes(8, False, 0)) == [
        ("mds", 16),
        ("mds", 12),
        ("mds", 9),
        ("replication", 16),
        ("ldpc", 16),
        ("uncoded", 8),
    ]
    assert described(Coded(code="auto", tolerate=9).codes(8, False, 0)) == [("mds", 17)]
    sums = Coded(code="auto").codes(6, True, 0)
    assert [(code.name, code.tolerance) for code in sums] == [
        ("fractional-repetition", 2),
        ("cyclic", 2),
        ("fractional-repetition", 1),
        ("cyclic", 1),
        ("uncoded", 0),
    ]


def test_auto_for_sums_takes_what_is_to_be_tolerated():
    found = Coded(code="auto", tolerate=3).codes(6, True, 0)
    assert [(code.name, code.tolerance) for code in found] == [("cyclic", 3)]
    with pytest.raises(
        UserError, match=r"on up to 6 workers.* 7 stragglers; workers: 48 is enough"
    ):
        Coded(code="auto", tolerate=7).codes(6, True, 0)
    assert Coded(code="auto", tolerate=7, workers=48).codes(6, True, 0)[0].tolerance >= 7
    with pytest.raises(UserError, match=r"on up to 12 workers.* 9 stragglers; workers: 17 is"):
        Coded(code="auto", tolerate=9, workers=12).codes(8, False, 0)


@pytest.mark.parametrize("sums", [False, True])
def test_auto_takes_what_has_an_exact_form(sums):
    found = Coded(code="auto", exact=True, tolerate=1).codes(6, sums, 0)
    assert len(found) >= 3
    for code in found:
        form = byte_code(code, 1)
        assert all(map(form.decodable, received_sets(code.workers, 1)))


def test_auto_finds_its_codes_at_once():
    began = time.process_time()
    assert len(Coded(code="auto").codes(20, False, 0)) >= 5
    assert time.process_time() - began < 5


def test_what_auto_wants():
    assert codes_for_results(3, 4, 1) == [
        ("mds", 4, 1),
        ("ldpc", 4, 1),
        ("uncoded", 3, 1),
    ]
    assert codes_for_sums(1, 1, 0) == [("uncoded", 1, 0)]
    assert codes_for_sums(2, 2, 0) == [
        ("fractional-repetition", 2, 1),
        ("cyclic", 2, 1),
        ("uncoded", 2, 0),
    ]


MADDPG = {"algorithm": {"name": "maddpg"}, "env": {"id": "simple_spread", "agents": 8}}
PPO = {"algorithm": {"name": "ppo"}, "env": {"id": "CartPole-v1"}, "learners": {"count": 6}}
MDS, FRACTIONAL = {"code": "mds"}, {"code": "fractional-repetition"}


def parsed(section, tmp_path, deterministic):
    data = {"name": "a", "workload": "rl", "resources": {"cpus": 2}, "stop": {"env_steps": 100}}
    return parse_job_file({**data, "deterministic": deterministic, "rl": section}, tmp_path)


@pytest.mark.parametrize(
    ("section", "deterministic", "line"),
    [
        (
            {"algorithm": {"name": "sac"}, "env": {"id": "Pendulum-v1"}, "coded": MDS},
            False,
            "rl.coded: sac updates by itself; maddpg and ppo",
        ),
        (
            {**MADDPG, "learners": {"count": 2}, "coded": MDS},
            False,
            "rl.learners: maddpg shares its work by",
        ),
        ({**PPO, "learners": None, "coded": FRACTIONAL}, False, "rl.coded: ppo needs rl.learners"),
        (
            {**PPO, "algorithm": {"name": "ppo", "policies": "separate"}, "coded": FRACTIONAL},
            False,
            "rl.learners: separate policies have a gradient each",
        ),
        ({**MADDPG, "coded": {"code": "cyclic"}}, False, "rl.coded.code: cyclic gives the sum"),
        (
            {**MADDPG, "sampling": {"samplers": 0}, "coded": MDS},
            False,
            "rl.coded: its workers are Ray actors",
        ),
        ({**MADDPG, "coded": {"code": "auto"}}, True, "rl.coded.code: auto goes by the clock"),
        ({**MADDPG, "coded": MDS}, True, "rl.coded.exact: with mds .* needs exact: true"),
        (
            {**MADDPG, "coded": {"code": "mds-dense"}},
            True,
            "rl.coded.code: with mds-dense .* needs replication, or mds with exact: true",
        ),
        (
            {**PPO, "coded": {"code": "cyclic"}},
            True,
            "rl.coded.code: with cyclic .* needs fractional-repetition, or mds with exact: true",
        ),
        (
            {**MADDPG, "coded": {**MDS, "inject": {"stragglers": 1, "workers": [2]}}},
            False,
            "rl.coded.inject.stragglers: .* give one of stragglers and workers",
        ),
    ],
)
def test_jobs_that_cannot_be_coded(section, deterministic, line, tmp_path):
    section = {key: value for key, value in section.items() if value is not None}
    with pytest.raises((UserError, KeyProblem), match=line):
        parsed(section, tmp_path, deterministic)


@pytest.mark.parametrize(
    ("section", "deterministic"),
    [
        ({**MADDPG, "coded": {**MDS, "workers": 15, "tolerate": 7}}, False),
        ({**MADDPG, "coded": {**MDS, "exact": True}}, True),
        ({**MADDPG, "coded": {"code": "replication", "tolerate": 1}}, True),
        ({**PPO, "coded": {**FRACTIONAL, "tolerate": 1}}, True),
        ({**PPO, "coded": {"code": "auto"}}, False),
        ({**PPO, "coded": {"code": "uncoded"}}, False),
    ],
)
def test_jobs_that_can(section, deterministic, tmp_path):
    job = parsed(section, tmp_path, deterministic)
    agents = 8 if "agents" in section["env"] else 1
    codes = SimpleNamespace(agents=agents)
    from covey.algorithms.attempt import check_codes

    check_codes(job.section, codes)
    assert WORKLOAD.resolve(job, tmp_path).section == job.section
