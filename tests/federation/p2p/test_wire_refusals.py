"""Whoever does not belong, or sends what does not: turned away, counted, named; nobody falls."""

import os
import resource
import socket
import threading

import grpc
import numpy as np
import pytest
from loopback import Peers, pieces, send, vector, wait_for

from covey.federation.p2p.peer_folder import revoke
from covey.federation.p2p.wire_header import CHUNK, HEADER_KEY, cut
from covey.federation.p2p.wire_service import CALLS_AT_ONCE, SERVICE


@pytest.fixture
def peers(make_peers):
    made = make_peers(4)
    made.start("peer-0")
    yield made
    # After whatever was tried: the peer still works.
    made.start("peer-3")
    made.names = ["peer-0", "peer-3"]
    assert made.round(2)["peer-0"] == {"peer-3": 203}


@pytest.fixture
def channel(peers):
    with peers.channel("peer-0", "peer-1") as channel:
        yield channel


def refused(peers, by="peer-1"):
    return peers.running["peer-0"].refused().get(by, {})


NAMES = ("127.0.0.1", "somebody")
"""Who is turned away: by address, or nobody knows, where it is gone before it was looked up."""


def turned_away(peers):
    return sum(refused(peers, who).get("handshake", 0) for who in NAMES)


CASES = {
    "other-sender": ({"sender": "peer-2"}, "in the name of peer-2"),
    "other-run": ({"run": "another"}, "of the run another, this is peers-"),
    "kind": ({"kind": "gradient"}, "a vector of kind gradient"),
    "dtype": ({"dtype": "<f8"}, "<f8, <f4 is expected"),
    "shape": ({"shape": (2**28,)}, "shape [268435456], ["),
}


@pytest.mark.parametrize("reason", CASES)
def test_a_header_that_does_not_fit(peers, channel, reason):
    changes, said = CASES[reason]
    status, text = send(channel, peers.header("peer-1", pieces(), **changes), pieces().chunks)
    assert status in ("PERMISSION_DENIED", "FAILED_PRECONDITION", "INVALID_ARGUMENT")
    assert text.startswith(f"{reason}: ")
    assert said in text
    assert refused(peers) == {reason: 1}
    (event,) = [event for event in peers.events if event["kind"] == "refused"]
    assert (event["peer"], event["reason"], event["count"]) == ("peer-1", reason, 1)
    assert event["message"].startswith("refused peer-1: ")


def test_no_header_and_one_that_is_none(peers, channel):
    for data in (b"", b"\x80\x04pickle", b"[" * 3000, b"{}"):
        assert send(channel, data, [b"x"])[0] == "INVALID_ARGUMENT"
    assert refused(peers) == {"header": 4}


def test_a_message_of_1_gb_takes_no_memory(peers, channel):
    """Announced as it is; as one frame under a small header; as more chunks than announced."""
    big = peers.header("peer-1", pieces(), shape=(2**28,))
    sent = []

    def endless():
        chunk = bytes(CHUNK)
        for number in range(1024):
            sent.append(number)
            yield chunk

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert send(channel, big, endless())[0] == "INVALID_ARGUMENT"
    few = len(sent)
    assert few < 64
    header = peers.header("peer-1", pieces())
    assert send(channel, header, endless(), 60)[0] == "INVALID_ARGUMENT"
    assert len(sent) - few < 64
    assert send(channel, header, [bytes(100 * CHUNK)], 60)[0] in ("RESOURCE_EXHAUSTED", "CANCELLED")
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 350 * 1024  # of which this test's own frame takes two or three times 100 MiB
    wait_for(lambda: refused(peers) == {"shape": 1, "size": 1, "incomplete": 1})
    assert "a chunk over 1048576 bytes" in peers.said("refused")[-1]


def test_numbers_that_are_not_finite(peers, channel):
    for bad in (np.nan, np.inf):
        spoilt = vector(1)
        spoilt[-3] = bad
        status, text = send(channel, peers.header("peer-1", cut(spoilt)), cut(spoilt).chunks)
        assert (status, text.partition(":")[0]) == ("INVALID_ARGUMENT", "not-finite")
    assert refused(peers) == {"not-finite": 2}
    # Nothing of it was taken: the same place is still free for a good one.
    assert send(channel, peers.header("peer-1", pieces()), pieces().chunks)[0] == "OK"


def test_replayed_messages(peers, channel):
    first = peers.header("peer-1", pieces(1))
    second = peers.header("peer-1", pieces(2), round=1)
    assert send(channel, first, pieces(1).chunks)[0] == "OK"
    assert send(channel, second, pieces(2).chunks)[0] == "OK"
    for header, chunks in (
        (first, pieces(1).chunks),
        (peers.header("peer-1", pieces(3), round=1), pieces(3).chunks),
        (peers.header("peer-1", pieces(1), round=2, session=0), pieces(1).chunks),
    ):
        status, text = send(channel, header, chunks)
        assert (status, text.partition(":")[0]) == ("ALREADY_EXISTS", "replayed")
    assert send(channel, second, pieces(2).chunks)[1].startswith('{"verdict":"repeated"')
    assert refused(peers) == {"replayed": 3}
    assert peers.said("refused")[0] == (
        "refused peer-1: round 0 step 0 again, after round 1 step 0"
    )


def test_a_vector_of_a_kind_that_belongs_elsewhere(peers, channel):
    coded = cut(np.zeros(7, np.uint8))
    assert send(channel, peers.header("peer-1", coded, kind="coded"), coded.chunks)[0] == "OK"
    got = peers.running["peer-0"].exchange(0, 0, vector(1), [], 5, receive_from=["peer-1"])
    assert got == {}
    assert refused(peers) == {"kind": 1}


def test_too_early_is_no_fault(peers, channel):
    status, text = send(channel, peers.header("peer-1", pieces(), round=99), pieces().chunks)
    assert (status, text) == ("RESOURCE_EXHAUSTED", "round 99 is too early, this is round 0")
    assert refused(peers) == {}
    assert peers.running["peer-0"].figures()["held_back"] == 1


def test_a_peer_that_is_no_neighbour(make_peers):
    peers = make_peers(3)
    peers.start("peer-0", neighbours=("peer-2",))
    with peers.channel("peer-0", "peer-1") as channel:
        assert send(channel, peers.header("peer-1", pieces()), pieces().chunks)[0] == (
            "PERMISSION_DENIED"
        )
    assert refused(peers) == {"not-a-neighbour": 1}


def test_no_certificate_and_one_of_another_root(peers, make_peers):
    stranger = make_peers(2)
    stranger.running["peer-0"] = peers.running["peer-0"]
    for channel in (peers.channel("peer-0", None), stranger.channel("peer-0", "peer-1")):
        with channel:
            header = peers.header("peer-1", pieces())
            assert send(channel, header, pieces().chunks)[0] == "UNAVAILABLE"
    del stranger.running["peer-0"]
    wait_for(lambda: turned_away(peers) >= 2)
    assert peers.said("refused")[0] in [
        f"refused {who}: a connection without a certificate of this run" for who in NAMES
    ]


def test_without_tls(peers):
    address = f"127.0.0.1:{peers.running['peer-0'].port}"
    with grpc.insecure_channel(address) as channel:
        header = peers.header("peer-1", pieces())
        assert send(channel, header, pieces().chunks)[0] == "UNAVAILABLE"
    wait_for(lambda: turned_away(peers))


def test_a_revoked_certificate_on_a_connection_that_is_open(peers, channel):
    assert send(channel, peers.header("peer-1", pieces()), pieces().chunks)[0] == "OK"
    revoke(peers.folder, "peer-1")
    status, text = send(channel, peers.header("peer-1", pieces(), round=1), pieces().chunks)
    assert status == "UNAUTHENTICATED"
    assert "is revoked" in text
    assert refused(peers) == {"revoked": 1}
    assert peers.said("peer_file")[0].endswith("revoked.txt has changed, and is read again")
    assert peers.said("refused")[0].startswith("refused peer-1: its certificate ")
    # Nor is anything sent to it any more.
    peers.running["peer-0"].exchange(1, 0, vector(1), ["peer-1"], 5)
    assert peers.running["peer-0"].figures().get("messages_sent", 0) == 0


def test_a_certificate_of_the_root_that_nobody_has_listed(peers, channel):
    file = peers.folder / "peer-0" / "peers.yaml"
    listed = file.read_text()
    start = listed.index("  peer-1:")
    file.write_text(listed[:start] + listed[listed.index("  peer-2:") :])
    assert send(channel, peers.header("peer-1", pieces()), pieces().chunks)[0] == (
        "PERMISSION_DENIED"
    )
    assert refused(peers) == {"unknown-peer": 1}


def test_a_call_without_a_deadline(peers, channel):
    status, text = send(channel, peers.header("peer-1", pieces()), pieces().chunks, timeout_s=None)
    assert (status, text.partition(":")[0]) == ("INVALID_ARGUMENT", "deadline")
    assert refused(peers) == {"deadline": 1}


def test_a_sender_that_stops_half_way_holds_nothing_for_long(peers, channel):
    first, over = pieces().chunks[0], threading.Event()

    def stalled():
        yield first
        over.wait(60)

    assert send(channel, peers.header("peer-1", pieces()), pieces().chunks)[0] == "OK"
    header = peers.header("peer-1", pieces(), round=1)
    assert send(channel, header, stalled(), 5)[0] == "DEADLINE_EXCEEDED"
    wait_for(lambda: refused(peers) == {"incomplete": 1}, limit_s=30)
    assert send(channel, header, pieces().chunks)[0] == "OK"
    over.set()


def test_one_peer_cannot_take_all_the_threads(peers, channel):
    call, over = channel.stream_unary(f"/{SERVICE}/Send"), threading.Event()

    def stalled():
        over.wait(60)
        yield b""

    waiting = []
    for round in range(CALLS_AT_ONCE):
        metadata = ((HEADER_KEY, peers.header("peer-1", pieces(), round=round).encoded()),)
        waiting.append(call.future(stalled(), timeout=120, metadata=metadata))
    wait_for(lambda: sum(peers.running["peer-0"]._service._busy.values()) == CALLS_AT_ONCE)
    status, text = send(channel, peers.header("peer-1", pieces()), pieces().chunks)
    assert (status, text) == ("RESOURCE_EXHAUSTED", f"{CALLS_AT_ONCE} calls at once are served")
    for future in waiting:
        future.cancel()
    over.set()


def test_a_crowd_of_refusals_is_few_events(peers, channel):
    for _ in range(40):
        send(channel, b"none", [b"x"])
    assert refused(peers) == {"header": 40}
    assert [event["count"] for event in peers.events] == [1, 2, 4, 8, 16, 32]


def test_random_bytes_on_the_port(peers: Peers):
    generator = np.random.default_rng(0)
    port = peers.running["peer-0"].port
    heads = (
        b"",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/1.1",
    )
    before = len(os.listdir("/proc/self/fd"))
    for number in range(200):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            try:
                connection.sendall(
                    heads[number % 4] + generator.bytes(int(generator.integers(2000)))
                )
            except OSError:
                pass  # it has hung up already
    wait_for(lambda: peers.running["peer-0"].figures()["refused"] == 200)
    wait_for(lambda: len(os.listdir("/proc/self/fd")) <= before + 5)
    assert len(peers.said("refused")) < 30
