import numpy as np
import pytest

from covey.federation.faults import NO_FAULT, Faults
from covey.federation.rounds_section import FaultsSection, StragglersSection


def stragglers(distribution="constant", fraction=1.0, dropout=0.0):
    late = StragglersSection(fraction=fraction, delay_s=4.0, distribution=distribution)
    return FaultsSection(dropout=dropout, stragglers=late)


def delays(section, limit_s=None, count=4000):
    faults = Faults(section, 3, limit_s)
    return [faults.of(node, 1, 0) for node in range(count)]


def test_without_a_section_nothing_happens():
    faults = Faults(None, 3, 1.0)
    assert not faults.active
    assert faults.of(2, 1, 0) == NO_FAULT


def test_a_fault_depends_on_seed_node_and_occasion_only():
    first, second = (Faults(stragglers("uniform"), 3, None) for _ in range(2))
    backwards = [second.of(node, 5, 0) for node in reversed(range(9))]
    assert [first.of(node, 5, 0) for node in range(9)] == backwards[::-1]
    seen = {first.of(2, 5, 0), first.of(3, 5, 0), first.of(2, 6, 0), first.of(2, 5, 1)}
    seen.add(Faults(stragglers("uniform"), 4, None).of(2, 5, 0))
    assert len(seen) == 5


def test_dropout_and_stragglers_are_as_frequent_as_asked():
    found = delays(stragglers(fraction=0.25, dropout=0.1))
    assert np.mean([fault.lost is not None for fault in found]) == pytest.approx(0.1, abs=0.02)
    answering = [fault.delay_s for fault in found if fault.lost is None]
    assert set(answering) == {0.0, 4.0}
    assert np.mean(answering) == pytest.approx(0.25 * 4, abs=0.1)


@pytest.mark.parametrize(
    ("distribution", "spread"), [("exponential", 4.0), ("uniform", 8 / 12**0.5)]
)
def test_delays_have_the_mean_and_the_spread_of_their_distribution(distribution, spread):
    found = [fault.delay_s for fault in delays(stragglers(distribution))]
    assert np.mean(found) == pytest.approx(4.0, rel=0.05)
    assert np.std(found) == pytest.approx(spread, rel=0.05)
    assert min(found) >= 0


def test_beyond_the_virtual_limit_a_straggler_is_lost_and_says_why():
    found = delays(stragglers("uniform"), limit_s=6.0)
    lost = [fault for fault in found if fault.lost is not None]
    assert len(lost) / len(found) == pytest.approx(0.25, abs=0.02)
    assert {fault.delay_s for fault in lost} == {6.0}
    assert "the limit is 6" in lost[0].lost
    assert max(fault.delay_s for fault in found if fault.lost is None) <= 6.0


def test_a_dropout_is_noticed_at_the_limit():
    dropped = next(f for f in delays(FaultsSection(dropout=0.5), limit_s=9.0) if f.lost)
    assert dropped.delay_s == 9.0
    assert "dropout" in dropped.lost
