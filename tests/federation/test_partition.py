import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.federation.partition import classes, dirichlet, iid, natural, quantity

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


@settings(max_examples=150, deadline=None)
@given(labels, st.integers(1, 60), st.integers(1, 10), seeds)
def test_classes_deals_every_index_once_or_says_why_not(labels, clients, wanted, seed):
    names = len(set(labels.tolist()))
    if wanted > names or clients * wanted < names:
        with pytest.raises(ValueError, match="classes_per_client is"):
            classes(labels, clients, wanted, seed)
        return
    parts = classes(labels, clients, wanted, seed)
    check_partition(parts, len(labels), clients, 0)
    assert max(len(np.unique(labels[part])) for part in parts) <= wanted
    assert all(map(np.array_equal, parts, classes(labels, clients, wanted, seed)))


@pytest.mark.parametrize(("clients", "wanted"), [(10, 1), (10, 2), (7, 3), (30, 9), (5, 10)])
def test_every_client_gets_that_many_classes_and_about_as_much_of_each(clients, wanted):
    labels = np.repeat(np.arange(10), [900, 1100] * 5)
    parts = classes(labels, clients, wanted, 3)
    check_partition(parts, len(labels), clients, 1)
    held = [np.bincount(labels[part], minlength=10) for part in parts]
    assert {int((counts > 0).sum()) for counts in held} == {wanted}
    pieces = np.concatenate([counts[counts > 0] for counts in held])
    assert pieces.max() <= 3 * pieces.min()  # a class is held by a whole number of clients


def test_which_classes_meet_at_a_client_is_a_matter_of_the_seed():
    labels = np.repeat(np.arange(10), 100)
    pairs = {tuple(np.unique(labels[classes(labels, 20, 2, seed)[0]])) for seed in range(20)}
    assert len(pairs) > 10


def test_classes_refuses_what_cannot_be():
    labels = np.repeat(np.arange(10), 5)
    with pytest.raises(ValueError, match="is 11; the data has 10 classes"):
        classes(labels, 10, 11, 0)
    with pytest.raises(
        ValueError, match=r"too few for 4 clients .* raise it to 3, or clients to 5"
    ):
        classes(labels, 4, 2, 0)
    with pytest.raises(ValueError, match="min_size is 5, but the smallest client gets 2 samples"):
        classes(np.repeat([0, 1], [2, 48]), 2, 1, 0, min_size=5)


@settings(max_examples=80, deadline=None)
@given(labels, st.integers(1, 400), alphas, seeds, st.data())
def test_quantity_deals_every_index_once(labels, clients, alpha, seed, data):
    min_size = data.draw(st.integers(0, len(labels) // clients))
    parts = quantity(labels, clients, alpha, seed, min_size)
    check_partition(parts, len(labels), clients, min_size)
    assert all(map(np.array_equal, parts, quantity(labels, clients, alpha, seed, min_size)))


def test_quantity_skews_sizes_and_leaves_the_classes_mixed():
    labels = np.repeat(np.arange(10), 1000)
    parts = quantity(labels, 20, 0.3, 4)
    sizes = sorted(len(part) for part in parts)
    assert sizes[-1] > 5 * sizes[10]
    largest = np.bincount(labels[max(parts, key=len)]) / sizes[-1]
    assert abs(largest - 0.1).max() < 0.03
    even = [len(part) for part in quantity(labels, 20, 1e6, 4)]
    assert max(even) < 1.1 * min(even)


@pytest.mark.parametrize("ids", [[7, 3, 7, 3, 7, 9], ["b", "a", "b", "a", "b", "c"]])
def test_natural_gives_each_client_what_bears_its_id(ids):
    parts = natural(np.array(ids), 3)
    assert [part.tolist() for part in parts] == [[1, 3], [0, 2, 4], [5]]


def test_natural_refuses_other_numbers_of_clients_and_clients_that_are_too_small():
    ids = np.array([5, 5, 6, 7, 7])
    for clients in (2, 4):
        with pytest.raises(ValueError, match=f"from 3 clients, not {clients}: write clients: 3"):
            natural(ids, clients)
    with pytest.raises(ValueError, match="min_size is 2, but the smallest client gets 1 samples"):
        natural(ids, 3, min_size=2)
