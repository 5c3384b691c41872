"""The choice among codes, against clusters that are made up."""

from math import inf, isfinite

import numpy as np
import pytest

from covey.platform.coding.chooser import PROBE_EVERY, TRIALS, Chooser

NAMES = ["mds of 15", "mds of 10", "uncoded", "replication"]


class Cluster:
    """Each code's time, with noise; counts what iterations cost, the given up ones included."""

    def __init__(self, times, seed=0):
        self.times, self.generator = times, np.random.default_rng(seed)
        self.said, self.spent = [], []
        self.chooser = Chooser(NAMES, self.said.append)

    def iterate(self, count):
        for _ in range(count):
            code, limit_s = self.chooser.next()
            seconds = self.times[code] * self.generator.uniform(0.95, 1.05)
            if seconds <= limit_s:
                self.chooser.took(code, seconds)
                self.spent.append(seconds)
                continue
            self.chooser.took(code, inf)
            again = self.times[self.chooser.best]
            self.spent.append(limit_s + again)

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


def test_it_changes_when_the_cluster_does():
    cluster = Cluster((0.05, 0.04, 0.03, 0.06))
    cluster.iterate(100)
    cluster.times = (0.05, 0.04, 1.0, 1.0)  # a worker has become late
    cluster.iterate(60)
    cluster.iterate(100)
    assert cluster.mean_s(100) <= 1.25 * 0.04
    assert any("uncoded takes" in told and "trying all" in told for told in cluster.said)
    cluster.times = (0.05, 0.04, 0.02, 0.06)  # and is not any more: nothing becomes slower by that
    cluster.iterate(PROBE_EVERY * len(NAMES) + 20)
    assert cluster.said[-1].startswith("uncoded from now on")
    cluster.iterate(100)
    assert cluster.mean_s(100) <= 1.15 * 0.02 * 1.1
