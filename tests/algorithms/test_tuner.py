"""What the tuner decides, on rates that are made up: its moves, its words, and that it settles."""

from itertools import pairwise

import numpy as np
import pytest

from covey.algorithms.batch_tuner import BatchTuner
from covey.algorithms.tuner import Limits, Measured, Setting, Tuner

LIMITS = Limits(samplers=(1, 8), environments=(1, 64), cpus=2)


def tune(start, limits, rate, noise=0.0, seed=0):
    """Until it has settled; the tuner, what it said, and what it ran."""
    generator, tuner = np.random.default_rng(seed), Tuner(start, limits)
    told, ran = [], []
    while not tuner.settled:
        ran.append(tuner.running)
        found = rate(tuner.running) * (1 + noise * generator.standard_normal())
        told.append(tuner.take(Measured(found, noise)))
        assert len(ran) <= 60
    return tuner, told, ran


def cheap(setting):
    """Two cores; a call costs as much as 8 environments."""
    each = 20_000 * setting.environments / (8 + setting.environments)
    crowd = max(0, setting.samplers - 2)
    return each * min(2, setting.samplers) * 0.95**crowd


def slow(setting):
    """Environments that sleep: every sampler more is worth as much as the first."""
    return setting.samplers * 480.0 * (1 - 0.01 / setting.environments)


def throttled(setting):
    """The learner lets no more than 900 steps a second through."""
    return min(slow(setting), 900.0)


def grid():
    return [Setting(2**s, 2**e) for s in range(4) for e in range(7)]


@pytest.mark.parametrize("rate", [cheap, slow, throttled])
@pytest.mark.parametrize("noise", [0.0, 0.015])
def test_from_everywhere_it_settles_near_the_best(rate, noise):
    best = max(map(rate, grid()))
    for seed, start in enumerate(grid()):
        tuner, told, ran = tune(start, LIMITS, rate, noise, seed)
        assert rate(tuner.best) >= 0.9 * best, (start, told)
        others = [b for a, b in pairwise(ran) if a != b]
        assert len(others) == len(set(others) - {start}), "nothing is gone back to"
        assert tuner.running == tuner.best and len(ran) <= 16


def test_of_equal_rates_the_one_with_fewer_samplers_is_kept():
    tuner, told, _ = tune(Setting(8, 1), LIMITS, throttled)
    assert tuner.best.samplers == 2
    assert "as many with fewer samplers: kept" in told[-4] + told[-3] + told[-2]


def test_what_it_says_can_be_followed():
    _, told, _ = tune(Setting(1, 8), Limits(samplers=(1, 2), environments=(1, 32), cpus=2), cheap)
    assert told == [
        "1 x 8 (samplers x environments each): 10,000 steps/s; trying 2 x 8",
        "2 x 8: 20,000 steps/s, 100 % more: kept; trying 2 x 16",
        "2 x 16: 26,667 steps/s, 33 % more: kept; trying 2 x 32",
        "2 x 32: 32,000 steps/s, 20 % more: kept; trying 1 x 32",
        "1 x 32: 16,000 steps/s, 50 % less: back to 2 x 32;"
        " nothing near is better: settled at 2 x 32",
    ]


def test_what_may_be_noise_is_not_kept():
    tuner = Tuner(Setting(2, 4), LIMITS)
    tuner.take(Measured(1000.0))
    told = tuner.take(Measured(1100.0, noise=0.04))
    assert told == "4 x 4: 1,100 steps/s, 10 % more, uncertain by 4 %: once more"
    assert tuner.running == Setting(4, 4)
    told = tuner.take(Measured(1040.0, noise=0.04))
    assert told == "4 x 4: 1,070 steps/s, 7 % more: back to 2 x 4 (8 % would count); trying 2 x 8"
    assert "4 % more: back to 2 x 4 (5 % would count)" in tuner.take(Measured(1040.0))
    assert tuner.best == Setting(2, 4)


def test_with_a_total_environments_are_only_shared_out_otherwise():
    limits = Limits(samplers=(1, 8), environments=(1, 64), cpus=2, total=8)
    tuner, _, ran = tune(Setting(2, 4), limits, slow)
    assert {one.samplers * one.environments for one in ran} == {8}
    assert tuner.best == Setting(8, 1)
    assert tune(Setting(2, 4), limits, lambda one: 100.0)[0].best == Setting(1, 8)


def test_samplers_that_use_more_than_the_jobs_cpus_are_not_kept():
    tuner = Tuner(Setting(2, 4), LIMITS)
    tuner.take(Measured(1000.0, cpus=1.9))
    assert tuner.running == Setting(4, 4)
    told = tuner.take(Measured(2000.0, cpus=3.7))
    assert told.startswith("4 x 4: 2,000 steps/s, 100 % more: but it uses 3.7 CPUs,")
    assert tuner.best == Setting(2, 4)


def test_where_the_clock_alone_says_how_many_updates_there_are_they_are_not_crowded_out():
    tuner = Tuner(Setting(2, 4), LIMITS)
    tuner.take(Measured(1000.0, updates_hz=100.0))
    told = tuner.take(Measured(1500.0, updates_hz=60.0))
    assert "50 % more: but updates fall from 100 to 60 a second: back to 2 x 4" in told


def test_it_looks_again_when_the_rate_has_moved():
    tuner, _, _ = tune(Setting(1, 8), LIMITS, throttled)
    settled = tuner.best
    assert tuner.watch(Measured(900.0)) is None and tuner.watch(Measured(1000.0)) is None
    told = tuner.watch(Measured(400.0))
    assert told == f"{settled}: 400 steps/s, 900 steps/s when it was settled: trying others again"
    assert not tuner.settled and tuner.running == settled


def test_groups_need_an_environment_each():
    limits = Limits(samplers=(1, 2), environments=(2, 8), cpus=2)
    _, _, ran = tune(Setting(1, 4), limits, lambda one: 1.0 / one.environments)
    assert min(one.environments for one in ran) == 2


def test_a_batch_grows_while_more_is_learnt_from_and_no_sampler_is_held_up():
    told = []
    tuner = BatchTuner(256, 4096)
    for rate_hz, updates_hz in ((1000.0, 100.0), (990.0, 99.0), (900.0, 90.0)):
        told.append(tuner.take(rate_hz, updates_hz))
    assert told == [
        "batch 256: 25,600 transitions/s learnt from; trying 512",
        "batch 512: 50,688 transitions/s learnt from, 98 % more, at 990 steps/s: kept; trying 1024",
        "batch 1024: 92,160 transitions/s learnt from, 82 % more, at 900 steps/s,"
        " 10 % less than before: settled at 512",
    ]
    assert tuner.settled and tuner.running == tuner.best == 512


def test_a_batch_stops_growing_where_no_more_is_learnt_from():
    tuner = BatchTuner(256, 512)
    tuner.take(1000.0, 100.0)
    assert tuner.take(1000.0, 54.0).endswith("8 % more, at 1,000 steps/s: settled at 256")
    tuner = BatchTuner(256, 512)
    tuner.take(1000.0, 100.0)
    assert tuner.take(1000.0, 100.0).endswith("kept; settled, more would be too many")
