import socket
import threading
import time

import numpy as np
import pytest
from loopback import LONG_S, SIZE, at_once, pieces, send, vector, wait_for

from covey.federation.p2p import wire_calls
from covey.federation.p2p.peer_states import State
from covey.federation.p2p.wire_exchange import Exchange
from covey.platform.errors import UserError


def test_all_get_the_vectors_of_all_at_each_step(make_peers):
    peers = make_peers(3)
    peers.start_all()
    for round in (0, 1, 5):
        for step in (0, 1):
            got = peers.round(round, step)
            mark = 100 * round + 10 * step
            assert got == {
                "peer-0": {"peer-1": mark + 1, "peer-2": mark + 2},
                "peer-1": {"peer-0": mark, "peer-2": mark + 2},
                "peer-2": {"peer-0": mark, "peer-1": mark + 1},
            }
    for exchange in peers.running.values():
        figures = exchange.figures()
        assert figures["messages_sent"] == figures["messages_received"] == 6 * 2
        assert figures["refused"] == 0
    assert not peers.said("peer_down")


def test_bytes_on_the_wire_are_those_of_the_vectors_and_the_connection_is_kept(
    make_peers, make_wire
):
    peers = make_peers(2)
    wire = make_wire(peers.port("peer-1"))
    peers.reach_through(wire.port, "peer-1", of="peer-0")
    peers.start_all()
    peers.round(0)
    before = wire.bytes_up  # with the handshake
    for round in range(1, 6):
        peers.round(round)
    assert 4 * SIZE < (wire.bytes_up - before) / 5 < 1.02 * 4 * SIZE
    assert wire.connections == 1


def test_greetings_tell_rounds_and_facts(make_peers):
    peers = make_peers(3)
    peers.start("peer-0", round=4)
    peers.start("peer-1", round=7)
    answers = peers.running["peer-0"].greet(["peer-1", "peer-2"], timeout_s=60)
    assert answers.keys() == {"peer-1"}
    assert (answers["peer-1"].round, answers["peer-1"].facts) == (7, {"samples": 11})
    known = peers.running["peer-1"].neighbours()["peer-0"]
    assert known.round == 7
    assert known.takes_part(7)
    assert known.facts == {"samples": 10}
    assert peers.running["peer-0"].round == 7
    assert peers.said("peer_up", at="peer-1") == ["peer-0 is here, at round 4"]
    assert peers.running["peer-0"].neighbours()["peer-2"].state is State.DOWN


def test_links_of_one_direction(make_peers):
    peers = make_peers(3)
    exchanges = peers.start_all()
    got = [None] * 3

    def push(number):
        to, source = (f"peer-{(number + shift) % 3}" for shift in (1, -1))
        mine = vector(number)
        got[number] = exchanges[number].exchange(0, 0, mine, [to], 60, receive_from=[source])

    run_all(*[lambda number=number: push(number) for number in range(3)])
    assert [float(next(iter(theirs.values()))[0]) for theirs in got] == [2, 0, 1]
    exchanges[0].exchange(1, 0, vector(9), ["peer-1"], 60, receive_from=[])
    theirs = exchanges[1].exchange(1, 0, vector(8), [], 60, receive_from=["peer-0"])
    assert float(theirs["peer-0"][0]) == 9
    assert exchanges[0].figures()["messages_sent"] == 2


def test_compressed_messages_of_any_length(make_peers):
    peers = make_peers(2)
    one, two = peers.start_all()
    coded = np.arange(37, dtype=np.uint8)
    one.exchange(0, 0, coded, ["peer-1"], 60, receive_from=[], kind="coded")
    got = two.exchange(0, 0, coded[:1], [], 60, receive_from=["peer-0"], kind="coded")
    np.testing.assert_array_equal(got["peer-0"], coded)


def test_a_peer_that_ends_is_down_and_the_others_go_on(make_peers):
    peers = make_peers(3)
    peers.start_all()
    peers.round(0)
    peers.stop("peer-2")
    with at_once():  # refused connections need no deadline
        assert peers.round(1, timeout_s=LONG_S) == {
            "peer-0": {"peer-1": 101},
            "peer-1": {"peer-0": 100},
        }
    with at_once():
        for round in range(2, 5):
            assert len(peers.round(round, timeout_s=LONG_S)["peer-0"]) == 1
    down = peers.said("peer_down")
    assert len(down) == 2  # one each, however often it is asked
    assert all(text.startswith("peer-2 is down in round 1: peer-2 could not be") for text in down)


def test_one_that_comes_back_fetches_a_vector_and_takes_part_again(make_peers, monkeypatch):
    monkeypatch.setattr(wire_calls, "HURRY_S", LONG_S)  # all are there to answer
    peers = make_peers(3)
    peers.start_all()
    for round in range(3):
        peers.round(round)
    peers.stop("peer-2")
    for round in range(3, 6):
        peers.round(round, timeout_s=LONG_S)
    peers.running["peer-0"].publish(6, vector(42))
    back = peers.start("peer-2", round=2)  # its checkpoint is an old one
    answers = back.greet(["peer-0", "peer-1"], timeout_s=60)
    assert {answer.round for answer in answers.values()} == {6}
    fetched = back.fetch("peer-0", timeout_s=60)
    assert fetched is not None
    assert (fetched[0], float(fetched[1][-1])) == (6, 42)
    got = peers.round(6)
    assert {name: len(theirs) for name, theirs in got.items()} == dict.fromkeys(peers.names, 2)
    # On a busy machine it has asked twice, and knows the others' round by then.
    here = {f"peer-2 is here, at round {round}" for round in (2, 6)}
    assert here & set(peers.said("peer_up", at="peer-0"))
    # On a busy machine others may have given up a connection before they called over it.
    assert {reason for reasons in back.refused().values() for reason in reasons} <= {"handshake"}


def test_one_that_was_only_cut_off_is_asked_and_comes_back(make_peers, make_wire):
    """Nobody starts anew, nobody says hello of itself: the exchanges find out."""
    peers = make_peers(2)
    wires = [make_wire(peers.port(other)) for other in ("peer-1", "peer-0")]
    for wire, name, other in zip(wires, peers.names, ("peer-1", "peer-0"), strict=True):
        peers.reach_through(wire.port, other, of=name)
    peers.start_all()
    got = {}
    for round in range(16):
        if round == 3:
            [wire.cut() for wire in wires]
        if round == 8:
            [wire.mend() for wire in wires]
        got[round] = len(peers.round(round, timeout_s=60)["peer-0"])
        peers.all_asked()
    assert [got[round] for round in range(3)] == [1, 1, 1]
    assert [got[round] for round in range(3, 8)] == [0] * 5
    assert [got[round] for round in range(14, 16)] == [1, 1]
    for name in peers.names:
        assert len(peers.said("peer_down", at=name)) == 1
        assert len(peers.said("peer_up", at=name)) == 1


def test_nobody_waits_for_one_that_said_goodbye(make_peers):
    peers = make_peers(3)
    peers.start_all()
    peers.round(0)
    peers.running["peer-2"].leave(timeout_s=60)
    peers.stop("peer-2")
    with at_once():
        for round in range(1, 4):
            peers.round(round, timeout_s=LONG_S)
    assert len(peers.said("peer_left")) == 2
    assert not peers.said("peer_down")
    # And when it comes back it takes part again.
    peers.start("peer-2", round=4).greet(["peer-0", "peer-1"], timeout_s=60)
    assert len(peers.round(4)["peer-0"]) == 2


def test_a_message_whose_answer_was_lost_is_sent_again_and_counts_once(make_peers, make_wire):
    peers = make_peers(2)
    wire = make_wire(peers.port("peer-1"))
    peers.reach_through(wire.port, "peer-1", of="peer-0")
    one, two = peers.start_all()
    wire.swallow_when = lambda: two.figures().get("messages_received")
    assert peers.round(0) == {"peer-0": {"peer-1": 1}, "peer-1": {"peer-0": 0}}
    assert wire.connections == 2
    assert one.figures()["retries"] >= 1
    assert (one.figures()["messages_sent"], two.figures()["messages_received"]) == (1, 1)
    assert two.figures()["repeated"] == 1
    assert two.figures()["refused"] == 0


def test_a_slow_neighbour_is_left_out_and_its_vector_is_late(make_peers):
    peers = make_peers(2)
    one, two = peers.start_all()
    peers.round(0)
    assert one.exchange(1, 0, vector(7), ["peer-1"], timeout_s=5) == {}
    assert peers.said("peer_down", at="peer-0") == [
        "peer-1 is down in round 1: nothing came from it for step 0"
    ]
    # It gets what was sent to it, and does not wait for more.
    with at_once():
        got = two.exchange(1, 0, vector(1), ["peer-0"], LONG_S)
    assert float(got["peer-0"][0]) == 7
    assert one.figures()["late"] == 1
    # One round later both are there.
    one.greet(["peer-1"], timeout_s=60)
    assert peers.round(2) == {"peer-0": {"peer-1": 201}, "peer-1": {"peer-0": 200}}


def test_a_fast_neighbour_waits_until_it_is_not_too_far_ahead(make_peers):
    peers = make_peers(2)
    one, two = peers.start_all()
    fast = threading.Thread(
        target=lambda: [
            one.exchange(round, 0, vector(round), ["peer-1"], 60, receive_from=[])
            for round in range(8)
        ]
    )
    fast.start()
    wait_for(lambda: two.figures().get("held_back", 0) > 0)
    got = [two.exchange(round, 0, vector(0), [], 60, receive_from=["peer-0"]) for round in range(8)]
    fast.join()
    assert [float(theirs["peer-0"][0]) for theirs in got] == list(range(8))


def test_a_peer_that_moves_is_found_when_the_list_changes(make_peers, make_wire):
    peers = make_peers(2)
    peers.start_all()
    peers.round(0)
    wire = make_wire(peers.port("peer-1"))
    peers.reach_through(wire.port, "peer-1", of="peer-0")
    peers.round(1)
    assert wire.connections == 1


def test_a_clock_that_went_back_keeps_nobody_out(make_peers):
    peers = make_peers(2)
    one, two = peers.start_all()
    one._calls.session += 10**18
    peers.round(0)
    peers.stop("peer-0")
    back = peers.start("peer-0", round=1)
    back.greet(["peer-1"], timeout_s=60)
    assert peers.round(1) == {"peer-0": {"peer-1": 101}, "peer-1": {"peer-0": 100}}
    assert two.figures()["refused"] == 0


def test_fetching_where_nothing_is_published_is_an_event(make_peers):
    peers = make_peers(2)
    one, _ = peers.start_all()
    assert one.fetch("peer-1", timeout_s=60) is None
    assert "nothing is published yet" in peers.said("fetch_failed")[0]
    assert peers.running["peer-1"].figures()["refused"] == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (vector(np.nan), "not finite"),
        (vector(1, 7), "shape"),
        (vector(1).astype(float), "<f8, <f4 is expected"),
    ],
)
def test_a_peer_does_not_send_what_the_others_would_refuse(make_peers, wrong, said):
    peers = make_peers(2)
    one, _ = peers.start_all()
    with pytest.raises(ValueError, match=said):
        one.exchange(0, 0, wrong, ["peer-1"], 1)
    with pytest.raises(ValueError, match=said):
        one.publish(0, wrong)


def test_why_a_peer_cannot_listen_is_one_line(make_peers):
    peers = make_peers(2)
    peers.start("peer-0")
    with pytest.raises(UserError, match=r"peer-1: listen: .* cannot be had: Address already"):
        peers.start("peer-1", listen=peers.addresses[0])
    with pytest.raises(UserError, match=r"cannot be had: Cannot assign"):
        peers.start("peer-1", listen="192.0.2.1:7400")  # an address that no machine has
    key = peers.config("peer-0").tls.key
    with pytest.raises(UserError, match=r"peer-1: a TLS file is wrong"):
        peers.start("peer-1", tls=peers.config("peer-1").tls.model_copy(update={"key": key}))


def test_a_restarted_service_takes_no_old_message_for_a_new_one(make_peers):
    peers = make_peers(2)
    peers.start("peer-0", round=9)
    channel = peers.channel("peer-0", "peer-1")
    status, text = send(channel, peers.header("peer-1", pieces(), round=3), pieces().chunks)
    channel.close()
    assert (status, '"late"' in text) == ("OK", True)
    assert peers.running["peer-0"].figures().get("messages_received", 0) == 0


def run_all(*calls):
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_neighbour_that_hangs_costs_one_deadline(make_peers):
    """Its system still takes connections, but nobody answers: as of a stopped process."""
    took_s = []
    while not took_s or (min(took_s) >= 2 and len(took_s) < 10):  # unless the machine paused
        peers = make_peers(2)
        one = peers.start("peer-0")
        with socket.create_server(("127.0.0.1", peers.port("peer-1"))):
            begun = time.monotonic()
            assert one.exchange(0, 0, vector(0), ["peer-1"], timeout_s=1) == {}
            took_s.append(time.monotonic() - begun)
            with at_once():
                for round in range(1, 6):
                    assert one.exchange(round, 0, vector(0), ["peer-1"], LONG_S) == {}
        assert len(peers.said("peer_down")) == 1
    assert 1 <= min(took_s) < 2


def test_a_peer_that_is_taken_off_the_list_is_left_out(make_peers):
    peers = make_peers(2)
    one, _ = peers.start_all()
    peers.round(0)
    file = peers.folder / "peer-0" / "peers.yaml"
    listed = file.read_text()
    file.write_text(listed[: listed.index("  peer-1:")])
    assert one.exchange(1, 0, vector(1), ["peer-1"], timeout_s=60) == {}
    assert one.fetch("peer-1", timeout_s=60) is None
    assert peers.said("fetch_failed") == ["no vector from peer-1: peer-1 is not listed"]


def test_too_many_facts_are_refused_at_once(make_peers):
    peers = make_peers(1)
    with pytest.raises(ValueError, match="at most 4096 are possible"):
        Exchange(
            peers.config("peer-0"),
            {},
            lambda *event, **facts: None,
            {f"fact-{number}": "x" * 199 for number in range(30)},
        )
