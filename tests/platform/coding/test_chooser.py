"""The choice among codes, against clusters that are made up."""

from math import inf, isfinite

import numpy as np
import pytest

from covey.platform.coding.chooser import PROBE_EVERY, TRIALS, Candidate, Chooser

NAMES = ["mds of 15", "mds of 10", "uncoded", "replication"]


class Cluster:
    """Each code's time, with noise; counts what iterations cost, the given up ones included. An
    infinite time is that of a worker which hangs.
    """

    def __init__(self, times, seed=0):
        self.times, self.generator = times, np.random.default_rng(seed)
        self.said, self.spent = [], []
        self.chooser = Chooser(NAMES, self.said.append)

    def iterate(self, count):
        for _ in range(count):
            code, limit_s = self.chooser.next()
            seconds = self.times[code] * self.generator.uniform(0.95, 1.05)
            self.chooser.took(code, seconds if seconds <= limit_s else inf)
            spent = min(seconds, limit_s)
            while self.times[code] > limit_s:
                code, limit_s = self.chooser.instead(code)
                spent += min(self.times[code], limit_s)
            self.spent.append(spent)

    def mean_s(self, last):
        return float(np.mean(self.spent[-last:]))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "times", [(0.05, 0.04, 0.03, 0.06), (0.05, 0.04, 1.0, 0.2), (0.05, 1.0, 1.0, 1.0)]
)
def test_after_twenty_iterations_it_costs_hardly_more_than_the_best(times, seed):
    cluster = Cluster(times, seed)
    cluster.iterate(20)
    assert isfinite(cluster.chooser.best_s)
    cluster.iterate(1000)
    assert cluster.mean_s(1000) <= 1.15 * min(times)
    assert len(cluster.said) == 1
    best = NAMES[int(np.argmin(times))]
    assert cluster.said[0].startswith(f"{best} from now on; an iteration takes: mds of 15 ")


def test_no_trial_costs_more_than_its_patience():
    cluster = Cluster((0.05, 60.0, 60.0, 60.0))
    cluster.iterate(len(NAMES) * TRIALS)
    assert max(cluster.spent) < 0.3
    assert "uncoded too long" in cluster.said[0]


@pytest.mark.parametrize("slow_s", [60.0, inf])
def test_a_chosen_code_is_given_up_when_the_cluster_changes(slow_s):
    cluster = Cluster((0.05, 0.04, 0.03, 0.06))
    cluster.iterate(100)
    assert cluster.said[0].startswith("uncoded from now on")
    cluster.times = (0.05, 0.04, slow_s, 0.06)
    cluster.iterate(100)
    assert max(cluster.spent) < 0.3 and sum(cluster.spent[100:]) < 1.3 * 100 * 0.04
    assert cluster.said[-1].startswith("mds of 10 from now on")
    assert "uncoded over " in cluster.said[-1]


def test_the_first_code_is_never_given_up_when_nothing_is_faster():
    cluster = Cluster((0.05, 1.0, 1.0, 1.0))
    cluster.iterate(50)
    cluster.times = (9.0, 9.0, 9.0, 9.0)
    cluster.iterate(50)
    assert cluster.chooser._chosen == 0 and max(cluster.spent[-10:]) == pytest.approx(9.0, rel=0.06)


def test_a_code_that_was_given_up_now_and_then_is_not_said_to_take_too_long():
    candidate = Candidate("uncoded of 4")
    candidate.times.extend([0.01, 0.01, 0.1])
    candidate.given_up = 1
    assert str(candidate) == "uncoded of 4 over 40.0 ms"


@pytest.mark.parametrize("seed", range(10))
def test_luck_in_the_trials_is_no_reason_to_try_slower_codes_again(seed):
    """A straggler that only every other iteration needs, as one of 15 at random is."""
    chance = np.random.default_rng(seed)
    cluster = Cluster((0.07, 0.3, 9.0, 0.4), seed)
    for _ in range(400):
        cluster.times = (chance.choice([0.07, 0.18]), 0.3, 9.0, 0.4)
        cluster.iterate(1)
    assert cluster.said[1:] == []
    assert cluster.mean_s(380) < 1.15 * 0.125


def test_it_changes_when_the_cluster_does():
    cluster = Cluster((0.05, 0.04, 0.03, 0.06))
    cluster.iterate(100)
    cluster.times = (0.05, 0.04, 1.0, 1.0)  # a worker has become late
    cluster.iterate(60)
    cluster.iterate(100)
    assert cluster.mean_s(100) <= 1.25 * 0.04
    assert any("uncoded takes" in told and "again what was faster" in told for told in cluster.said)
    cluster.times = (0.05, 0.04, 0.02, 0.06)  # and is not any more: nothing becomes slower by that
    cluster.iterate(PROBE_EVERY * len(NAMES) + 20)
    assert cluster.said[-1].startswith("uncoded from now on")
    cluster.iterate(100)
    assert cluster.mean_s(100) <= 1.15 * 0.02 * 1.1
