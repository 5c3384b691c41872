import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.federation.partition import dirichlet, iid

labels = st.lists(st.integers(-3, 6), max_size=300).map(np.array)
alphas = st.floats(-3, 6).map(lambda exponent: 10.0**exponent)
seeds = st.integers(0, 2**63 - 1)


def check_partition(parts, samples, clients, min_size):
    assert len(parts) == clients
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in parts)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(samples))
    assert min(len(part) for part in parts) >= min_size


@settings(max_examples=150, deadline=None)
@given(labels, st.integers(1, 400), alphas, seeds, st.data())
def test_dirichlet_deals_out_every_index_once(labels, clients, alpha, seed, data):
    min_size = data.draw(st.integers(0, len(labels) // clients))
    parts = dirichlet(labels, clients, alpha, seed, min_size)
    check_partition(parts, len(labels), clients, min_size)
    again = dirichlet(labels, clients, alpha, seed, min_size)
    assert all(map(np.array_equal, parts, again))


@settings(max_examples=50, deadline=None)
@given(labels, st.integers(1, 400), seeds)
def test_iid_shares_differ_by_one_at_most(labels, clients, seed):
    parts = iid(labels, clients, seed)
    check_partition(parts, len(labels), clients, 0)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("deal", [iid, lambda *a: dirichlet(a[0], a[1], 1.0, *a[2:])])
def test_too_few_samples_are_refused_with_the_reason(deal):
    with pytest.raises(ValueError, match="need 12 samples; there are 11"):
        deal(np.zeros(11, int), 4, 0, 3)
    with pytest.raises(ValueError, match="at least one"):
        deal(np.zeros(11, int), 0, 0, 0)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_alpha_must_be_a_positive_number(alpha):
    with pytest.raises(ValueError, match="alpha"):
        dirichlet(np.zeros(5, int), 2, alpha, 0)


def test_alpha_decides_how_alike_clients_are():
    labels = np.repeat(np.arange(10), 500)

    def classes_seen(alpha):
        parts = dirichlet(labels, 20, alpha, 1, min_size=10)
        return np.mean([len(np.unique(labels[part])) for part in parts])

    assert classes_seen(0.01) < 3 < classes_seen(0.3) < 9.5 < classes_seen(1e6)


@pytest.mark.parametrize("alpha", [1e15, 1e300, 1e308])
def test_a_huge_alpha_gives_equal_shares(alpha):
    parts = dirichlet(np.repeat(np.arange(10), 100), 4, alpha, 0)
    assert [len(part) for part in parts] == [250] * 4


def test_min_size_holds_where_no_draw_could_give_it():
    labels = np.repeat(np.arange(10), 100)
    parts = dirichlet(labels, 100, 1e-3, 0, min_size=10)  # 10 classes go to about 10 of 100 clients
    assert {len(part) for part in parts} == {10}
