"""Several learners that share each minibatch learn what one learner does."""

from pathlib import Path

import numpy as np
import pytest
from learner_processes import CASES, alone, in_processes

from covey.algorithms.beforehand import inline
from covey.algorithms.learner_seat import threads_of
from covey.algorithms.section import number_of_learners
from covey.platform.errors import JobFileError, KeyProblem
from covey.platform.jobfile.load import parse_job_file

NAMES = tuple(CASES)
OF_THE_FIRST = ("log_alpha", "optimizer alpha.", "optimizer replay.")
"""What the others do nothing with begins so."""


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def learned(request):
    return in_processes(request.param, NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_group_learns_what_one_learner_does(learned, name):
    wanted = alone(CASES[name])
    first, *others = (found[name] for found, _ in learned)
    for key, array in wanted.items():
        np.testing.assert_allclose(first[key], array, rtol=0, atol=1e-6, err_msg=key)
    for other in others:
        for key in other:
            if key.startswith(OF_THE_FIRST):
                continue
            np.testing.assert_array_equal(other[key], first[key], err_msg=key)


def test_learners_listen_on_loopback_alone(learned):
    for _, heard in learned:
        assert heard and set(heard) == {"127.0.0.1"}


def job_of(count=2, algorithm="ppo", cpus=4, settings=None, env="CartPole-v1", **more):
    section = {
        "algorithm": {"name": algorithm, **(settings or {})},
        "env": env if isinstance(env, dict) else {"id": env},
        "learners": {"count": count},
        **more,
    }
    data = {"name": "a", "workload": "rl", "stop": {"env_steps": 100}, "rl": section}
    return parse_job_file({**data, "resources": {"cpus": cpus}}, Path.cwd())


SPREAD = {"id": "simple_spread", "agents": 3}


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"algorithm": "maddpg", "env": SPREAD}, "rl.learners: maddpg has one learner; .*rl.coded"),
        (
            {"settings": {"policies": "separate"}, "env": SPREAD},
            "rl.learners: separate policies have a learner each",
        ),
        ({"cpus": 1}, "rl.learners: they are Ray actors, but this job is all in one process"),
        ({"sampling": {"samplers": 0}}, "rl.learners: they are Ray actors"),
        (
            {"count": 8, "settings": {"minibatch_size": 7}},
            "rl.learners.count: 8 learners cannot share 7 transitions .*minibatch_size",
        ),
        (
            {"count": 8, "algorithm": "dqn", "settings": {"batch_size": 7}},
            "rl.learners.count: 8 learners cannot share 7 transitions .*batch_size",
        ),
        ({"count": 0}, "rl.learners.count"),
    ],
)
def test_jobs_that_cannot_have_several_learners(wrong, line):
    with pytest.raises((JobFileError, KeyProblem), match=line):
        job_of(**wrong)


def test_jobs_with_one_learner_are_no_group():
    assert number_of_learners(job_of(1, cpus=1).section) == 1
    assert number_of_learners(job_of(1, algorithm="maddpg", env=SPREAD).section) == 1
    coded = job_of(4, coded={"code": "uncoded"})
    assert number_of_learners(coded.section) == 1 and coded.section.learners.count == 4
    assert number_of_learners(inline(job_of(3)).section) == 1


def test_learners_share_the_cpus():
    assert [threads_of(job_of(count, cpus=8)) for count in (1, 2, 3, 16)] == [8, 4, 2, 1]
    replayed = job_of(2, algorithm="dqn", cpus=8, sampling={"samplers": 2})
    assert threads_of(replayed) == 3
