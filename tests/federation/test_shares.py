"""How clients are dealt out to actors."""

import pytest

from covey.federation.shares import LEAST_S, MOST_SHARES, ClientTimes, dealt


def test_every_place_is_dealt_once_and_the_shares_take_about_as_long():
    seconds = [3.0, 1.0, 2.0, 0.5, 4.0, 0.5, 1.0, 2.0, 1.0, 1.0]
    shares = dealt(seconds, 2)
    assert sorted(place for share in shares for place in share) == list(range(10))
    totals = [sum(seconds[place] for place in share) for share in shares]
    assert totals == sorted(totals, reverse=True)
    assert len(shares) == 2 * MOST_SHARES and totals[0] == 4.0  # nothing can split the longest one


def test_what_is_done_quickly_is_one_share_for_each_worker():
    shares = dealt([LEAST_S / 10] * 12, 3)
    assert [len(share) for share in shares] == [4, 4, 4]


def test_fewer_clients_than_workers():
    assert dealt([1.0], 4) == [[0]]
    assert dealt([], 4) == []


def test_times_are_smoothed_and_strangers_take_the_mean():
    times = ClientTimes()
    assert times.expected_s([1, 2]) == [1.0, 1.0]
    times.took(1, 2.0)
    assert times.expected_s([1, 2]) == [2.0, 2.0]
    times.took(1, 4.0)
    assert times.expected_s([1]) == [3.0]
    assert times.expected_s([2])[0] == pytest.approx(2.2)
