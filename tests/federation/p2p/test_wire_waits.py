"""Nobody waits for what will not come: each case would otherwise take the whole deadline."""

import threading
import time

import numpy as np
import pytest
from loopback import LONG_S, at_once, send, vector, wait_for

from covey.federation.p2p import wire_calls
from covey.federation.p2p.peer_fetching import far_ahead, reached_by_most
from covey.federation.p2p.peer_folder import revoke
from covey.federation.p2p.peer_states import State
from covey.federation.p2p.wire_header import cut
from covey.federation.p2p.wire_line import Patience


@pytest.fixture
def two_peers(make_peers):
    peers = make_peers(2)
    peers.start_all()
    peers.round(0)
    return peers


def in_background(peers, name, round, step=0):
    other = next(one for one in peers.names if one != name)
    got = []

    def exchange():
        mine = vector(round)
        got.append(peers.running[name].exchange(round, step, mine, [other], LONG_S))

    thread = threading.Thread(target=exchange)
    thread.start()
    return thread, got


def test_for_one_that_is_at_a_later_round(two_peers):
    """Its vector of that round is kept, and it takes part there."""
    one = two_peers.running["peer-0"]
    ahead, got = in_background(two_peers, "peer-1", 3)
    wait_for(lambda: one.figures()["messages_received"] == 2)
    with at_once():
        assert one.exchange(2, 0, vector(2), ["peer-1"], LONG_S) == {}
        assert float(one.exchange(3, 0, vector(3), ["peer-1"], LONG_S)["peer-1"][0]) == 3
    ahead.join()
    assert float(got[0]["peer-0"][0]) == 3
    assert not two_peers.said("peer_down")


def test_for_one_that_is_too_far_ahead_to_be_heard(two_peers):
    one = two_peers.running["peer-0"]
    behind, got = in_background(two_peers, "peer-0", 1)
    ahead, _ = in_background(two_peers, "peer-1", 40)
    with at_once():
        behind.join()
    assert got == [{}]
    assert one.neighbours()["peer-1"].state is State.UP
    assert one.neighbours()["peer-1"].from_round == 40
    with at_once():
        assert "peer-1" in one.exchange(40, 0, vector(4), ["peer-1"], LONG_S)
        ahead.join()


def test_for_one_that_has_begun_the_round_without_it(two_peers):
    """It took this one for down, and is brought back by what this one sends."""
    one, two = two_peers.running.values()
    two._neighbours.failed("peer-0", 1, "a test")
    with at_once():
        assert two.exchange(1, 0, vector(1), ["peer-0"], LONG_S) == {}
        assert one.exchange(1, 0, vector(1), ["peer-1"], LONG_S) == {}
        got = {}
        for round in range(2, 8):
            got = two_peers.round(round, timeout_s=LONG_S)
            two_peers.all_asked()
        assert got == {"peer-0": {"peer-1": 701}, "peer-1": {"peer-0": 700}}
    assert not two_peers.said("peer_down", at="peer-0")


def test_for_one_that_asks_whether_this_one_is_back(two_peers):
    one, two = two_peers.running.values()
    waiting, got = in_background(two_peers, "peer-0", 1)
    wait_for(lambda: two.figures()["messages_received"] == 2)
    two._neighbours.begin(1)
    two._neighbours.failed("peer-0", 1, "a test")
    with at_once():
        two.greet(["peer-0"], LONG_S)
        waiting.join()
        assert two_peers.round(2) == {"peer-0": {"peer-1": 201}, "peer-1": {"peer-0": 200}}
    assert got == [{}] and one.figures()["refused"] == 0


def test_for_one_that_ended_after_it_was_sent_to(two_peers):
    two = two_peers.running["peer-1"]
    waiting, got = in_background(two_peers, "peer-0", 1)
    wait_for(lambda: two.figures()["messages_received"] == 2)
    time.sleep(1.5)  # the connection is watched by then
    with at_once():
        two_peers.stop("peer-1")
        waiting.join()
    assert got == [{}]
    assert two_peers.said("peer_down") == [
        "peer-1 is down in round 1: nothing came from it for step 0"
    ]


def test_for_one_whose_connection_is_lost_again_and_again(make_peers, make_wire):
    """It is asked each time: as long as it answers it is waited for, and no longer."""
    peers = make_peers(2)
    wire = make_wire(peers.port("peer-1"))
    peers.reach_through(wire.port, "peer-1", of="peer-0")
    peers.start_all()
    peers.round(0)
    waiting, got = in_background(peers, "peer-0", 1)
    for connections in (2, 3):
        time.sleep(1.5 if connections == 2 else 0.5)  # the connection is watched by then
        wire.cut()
        wire.mend()
        wait_for(lambda connections=connections: wire.connections == connections)
    assert waiting.is_alive()
    with at_once():
        peers.stop("peer-1")
        waiting.join()
    assert got == [{}]


def test_for_an_answer_over_a_connection_that_is_closed_while_it_is_watched(two_peers):
    """No thread ends with an error, which would fail the test."""
    calls = two_peers.running["peer-0"]._calls
    for number in range(20):
        line = calls._line("peer-1")
        line.greet(calls._hello("peer-1"), Patience(time.monotonic() + 20))
        with calls.watching(["peer-1"], time.monotonic() + 20):
            if number % 2:
                line.reconnect()
        line.reconnect()
    time.sleep(0.3)


def test_for_the_dead_when_others_are_at_a_later_round(make_peers):
    peers = make_peers(3)
    peers.start("peer-0", round=9)
    late = peers.start("peer-1")
    with at_once():
        answers = late.greet(["peer-0", "peer-2"], LONG_S)
    assert answers["peer-0"].round == late.round == 9
    assert late.neighbours()["peer-2"].state is State.DOWN


def test_an_old_start_says_nothing_of_a_new_one(two_peers):
    """A vector of an earlier start, of a far round, is refused, and the new one waited for."""
    one, two = two_peers.running.values()
    ours = vector(7)
    old = two_peers.header("peer-1", cut(ours), session=1, round=3)
    channel = two_peers.channel("peer-0", "peer-1")
    assert send(channel, old, cut(ours).chunks)[0] == "ALREADY_EXISTS"
    channel.close()
    assert two_peers.round(1) == {"peer-0": {"peer-1": 101}, "peer-1": {"peer-0": 100}}
    assert one.refused() == {"peer-1": {"replayed": 1}}
    assert two.figures()["refused"] == 0


def test_a_neighbour_that_lies_about_its_round_leads_nobody_astray_who_asks_for_most(
    make_peers, monkeypatch
):
    monkeypatch.setattr(wire_calls, "HURRY_S", LONG_S)  # all are there to answer
    peers = make_peers(4)
    for name in ("peer-1", "peer-2"):
        peers.start(name, round=5)
    peers.start("peer-3", round=10**6)
    others = ["peer-1", "peer-2", "peer-3"]
    late = peers.start("peer-0")
    late.greet(others, LONG_S, reached_by_most)
    assert late.round == 5
    assert far_ahead(late, 5, reached_by_most) is None
    assert far_ahead(late, 5, max) == (10**6, ["peer-3"])
    with at_once():
        mine = threading.Thread(target=late.exchange, args=(5, 0, vector(5), others, LONG_S))
        mine.start()
        peers.round(5, names=["peer-1", "peer-2"])
        mine.join()


@pytest.mark.parametrize(
    ("rounds", "most"), [([7], 7), ([3, 9], 3), ([3, 9, 9], 9), ([3, 3, 8, 10**6], 3)]
)
def test_the_round_that_most_have_reached(rounds, most):
    assert reached_by_most(rounds) == most


def test_for_one_that_is_revoked_meanwhile(two_peers):
    one, two = two_peers.running.values()
    waiting, got = in_background(two_peers, "peer-0", 1)
    wait_for(lambda: two.figures()["messages_received"] == 2)
    with at_once():
        revoke(two_peers.folder, "peer-1")
        assert two.exchange(1, 0, vector(1), ["peer-0"], LONG_S).keys() == {"peer-0"}
        waiting.join()
    assert got == [{}] and one.refused() == {"peer-1": {"revoked": 1}}


def test_for_one_that_was_revoked_before(two_peers):
    one = two_peers.running["peer-0"]
    revoke(two_peers.folder, "peer-1")
    with at_once():
        assert one.exchange(1, 0, vector(1), ["peer-1"], LONG_S) == {}
    assert one.neighbours()["peer-1"].state is State.DOWN
    assert two_peers.said("peer_down", at="peer-0") == [
        "peer-1 is down in round 1: its certificate is revoked, or it is not listed"
    ]


@pytest.mark.parametrize("spoilt", ["numbers", "shape"])
@pytest.mark.parametrize("early", [False, True])
def test_for_a_vector_that_was_refused(two_peers, spoilt, early):
    """Whether it came while it was waited for, or before."""
    one, two = two_peers.running.values()
    pieces = cut(vector(np.nan if spoilt == "numbers" else 1))
    changes = {"session": two._calls.session, "round": 1}
    changes |= {"shape": (3,)} if spoilt == "shape" else {}

    def send_it():
        with two_peers.channel("peer-0", "peer-1") as channel:
            header = two_peers.header("peer-1", pieces, **changes)
            assert send(channel, header, pieces.chunks)[0] == "INVALID_ARGUMENT"

    if early:
        send_it()
    with at_once():
        waiting, got = in_background(two_peers, "peer-0", 1)
        wait_for(lambda: two.figures()["messages_received"] == 2)
        if not early:
            send_it()
        waiting.join()
    assert got == [{}] and one.figures()["refused"] == 1
    assert two_peers.round(2) == {"peer-0": {"peer-1": 201}, "peer-1": {"peer-0": 200}}
