"""Real peers in trouble: two are killed and one comes late, the network parts, somebody attacks.

With `-s` each test prints its figures.
"""

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from local_peers import LocalPeers
from loopback import channel, send, wait_for

from covey.federation.p2p.learners import MODEL
from covey.federation.p2p.measuring import disagreement
from covey.federation.p2p.peer_files import PeerList, read_model
from covey.federation.p2p.peer_folder import revoke
from covey.federation.p2p.wire_header import CHUNK, Header, cut
from covey.platform.exit_status import ExitStatus
from covey.platform.runs.folder import RunFolder

pytestmark = pytest.mark.slow
LOCAL = {"steps": 30, "batch_size": 10, "learning_rate": 0.05, "momentum": 0.5}
MLP = {"app": "mlp", "hidden": 16, "local": LOCAL}
ENDLESS = {**MLP, "rounds": 100_000}
UNLIKE = {"name": "digits", "partition": {"kind": "classes", "classes_per_client": 2}}
SIZE = 64 * 16 + 16 + 16 * 10 + 10
"""Numbers in the vector of that MLP."""
TIMEOUT_S = 30
SOMEBODY = ("127.0.0.1", "somebody")
"""Whoever shows no certificate, by the address if it was still to be seen."""
START_S = 240
"""In which eight processes have begun, on a busy machine."""


def longest(peers: LocalPeers, names: list[str], since: dict[str, int]) -> float:
    """The longest round of those peers in seconds, after the rounds in `since`."""
    lines = [line for name in names for line in peers.lines(name) if line["step"] > since[name]]
    return max(line.get("round_s", 0) for line in lines)


def rounds(peers: LocalPeers, names: list[str]) -> dict[str, int]:
    return {name: peers.rounds(name) for name in names}


def wait_for_rounds(peers: LocalPeers, names: list[str], more: int, limit_s: float = 240) -> None:
    before = rounds(peers, names)
    wait_for(lambda: all(peers.rounds(n) >= before[n] + more for n in names), limit_s)


def apart(peers: LocalPeers, names: list[str]) -> float:
    """How far the models of their newest checkpoints are apart."""
    return disagreement(np.concatenate([vector(peers, name) for name in names]))


def vector(peers: LocalPeers, name: str) -> np.ndarray:
    while True:
        try:
            arrays = RunFolder.open(peers.run_dir(name)).newest_checkpoint().arrays(MODEL)
        except OSError:  # replaced by the next one meanwhile
            continue
        return np.concatenate([arrays[key].reshape(1, -1) for key in sorted(arrays)], axis=1)


def tell(peers: LocalPeers, kinds: set[str], **figures: object) -> None:
    """For whoever reads along: the figures, and the events of these kinds in the order of time."""
    told = [
        f"{event['time'][11:23]} {name} {event['kind']}: {event['message']}"
        for name in peers.names
        for event in peers.lines(name, "events.jsonl")
        if event["kind"] in kinds
    ]
    print(json.dumps(figures), *sorted(told), sep="\n")


def stop_all(peers: LocalPeers) -> None:
    for process in peers.running.values():
        process.send_signal(signal.SIGTERM)
    for name in list(peers.running):
        status, said = peers.end(name)
        assert status == ExitStatus.STOPPED, said


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_are_killed_one_comes_back_and_one_late(peers_of, train, seed):
    keys = {
        **ENDLESS,
        "peers": 9,
        "topology": {"kind": "exponential"},
        "data": {"name": "digits", "partition": {"kind": "dirichlet", "alpha": 0.5}},
        "job": {"seed": seed, "checkpoint": {"every_rounds": 10}},
    }
    peers = peers_of(settings={"wait_s": 60, "timeout_s": TIMEOUT_S}, **keys)
    eight, late = peers.names[:8], peers.names[8]
    peers.start(*eight)
    wait_for(lambda: min(map(peers.rounds, eight)) >= 15, START_S)
    calm_s = longest(peers, eight, dict.fromkeys(eight, 0))
    others = [name for name in eight if name not in ("peer-3", "peer-4")]
    dead_at = rounds(peers, others)
    for name in ("peer-3", "peer-4"):
        peers.kill(name)
    wait_for_rounds(peers, others, 20)
    peers.start("peer-3", late)
    wait_for(lambda: all(peers.said(name, "caught_up") for name in ("peer-3", late)), START_S)
    there = [*others, "peer-3", late]
    wait_for_rounds(peers, there, 40)
    heard = {name: peers.lines(name)[-1]["heard"] for name in there}
    troubled_s = longest(peers, others, dead_at)
    last = peers.rounds("peer-0")
    stop_all(peers)

    accuracy = np.mean([peers.lines(name)[-1]["accuracy"] for name in there])
    undisturbed = train(**{**keys, "rounds": last}).column("accuracy")[-1]
    tell(
        peers,
        {"peer_down", "peer_up", "restored", "caught_up"},
        rounds=[dead_at["peer-0"], last],
        longest_round_s={"calm": calm_s, "troubled": troubled_s},
        accuracy={"mean": accuracy, "undisturbed": undisturbed},
        heard=heard,
    )
    assert troubled_s < TIMEOUT_S
    assert accuracy > undisturbed - 0.02
    for name in ("peer-2", "peer-5"):  # neighbours of both on either side
        down, up = peers.said(name, "peer_down"), peers.said(name, "peer_up")
        assert any("peer-3 is down" in text for text in down)
        assert any("peer-4 is down" in text for text in down)
        assert any("peer-3 is" in text for text in up)
    assert "goes on from step" in peers.said("peer-3", "restored")[0]
    assert not peers.said(late, "restored")
    for name in ("peer-3", late):
        assert "with the weights of peer-" in peers.said(name, "caught_up")[0]
    graph_degree = 6  # of nine in an exponential graph: 1, 2 and 4 places away, on both sides
    assert heard["peer-0"] == graph_degree - 1  # all but peer-4


def test_a_network_that_the_job_cuts_in_two(peers_of, train):
    keys = {
        **MLP, "rounds": 30, "peers": 8, "data": UNLIKE, "precision": "float64",
        "topology": {"kind": "ring", "cut": {"groups": 2, "from": 10, "until": 15}},
    }  # fmt: skip
    together = train(**keys)
    expected = {line["step"]: line for line in together.metrics}
    peers = peers_of(settings={"wait_s": START_S}, **keys)
    peers.start()
    for name in peers.names:
        status, said = peers.end(name)
        assert status == ExitStatus.SUCCEEDED, said
        assert not peers.said(name, "peer_down")
    for line in peers.lines("peer-4")[1:]:
        assert line["heard"] == (1 if 10 <= line["step"] < 15 else 2)
        accuracies = [peers.lines(name)[line["step"]]["accuracy"] for name in peers.names]
        assert np.mean(accuracies) == pytest.approx(expected[line["step"]]["accuracy"], abs=1e-9)
    at = {step: round(expected[step]["disagreement"], 4) for step in (9, 14, 15, 20, 30)}
    longest_s = longest(peers, peers.names, dict.fromkeys(peers.names, 1))
    tell(peers, set(), disagreement_by_round=at, longest_round_s=longest_s)
    assert at[14] > at[9] and at[20] < at[14]


@pytest.mark.parametrize("how", ["cut", "silence"])
def test_a_network_whose_lines_between_two_halves_fail(peers_of, make_wire, how):
    """`cut` ends the connections; with `silence` bytes are lost, as when a line is pulled out."""
    peers = peers_of(
        settings={"wait_s": START_S, "timeout_s": TIMEOUT_S},
        **ENDLESS, peers=8, data=UNLIKE, topology={"kind": "ring"},
        job={"checkpoint": {"every_rounds": 1}},
    )  # fmt: skip
    wires = []
    for one, other in [(3, 4), (4, 3), (7, 0), (0, 7)]:
        port = int(peers.address(f"peer-{other}").rpartition(":")[2])
        wires.append(make_wire(port))
        peers.reach_through(wires[-1].port, f"peer-{other}", of=f"peer-{one}")
    names, edges = peers.names, ("peer-0", "peer-3", "peer-4", "peer-7")
    peers.start()
    wait_for(lambda: min(map(peers.rounds, names)) >= 10, START_S)
    calm, calm_at = apart(peers, names), rounds(peers, names)
    calm_s = longest(peers, names, dict.fromkeys(names, 1))
    for wire in wires:
        getattr(wire, how)()
    wait_for(lambda: all(peers.said(name, "peer_down") for name in edges), START_S)
    parted_at = rounds(peers, names)
    wait_for_rounds(peers, names, 5)
    parted, halves = apart(peers, names), [apart(peers, names[:4]), apart(peers, names[4:])]
    while_cut = [peers.lines(name)[-1]["heard"] for name in names]
    began_s = longest(peers, names, calm_at)
    cut_s = longest(peers, names, parted_at)
    for wire in wires:
        wire.mend()
    mended_at = rounds(peers, names)
    begun = time.monotonic()
    wait_for(lambda: [peers.lines(name)[-1]["heard"] for name in names] == [2] * 8, 240)
    met_s = time.monotonic() - begun
    met_at = rounds(peers, names)
    wait_for_rounds(peers, names, 20)
    after = apart(peers, names)
    healed_s = longest(peers, names, mended_at)
    stop_all(peers)
    tell(
        peers,
        {"peer_down", "peer_up", "caught_up"},
        disagreement={"before": calm, "parted": parted, "halves": halves, "after": after},
        longest_round_s={"before": calm_s, "cut": began_s, "parted": cut_s, "healed": healed_s},
        heard_when_parted=while_cut,
        met_again={"s": met_s, "rounds": met_at["peer-0"] - mended_at["peer-0"]},
        downs={name: len(peers.said(name, "peer_down")) for name in names},
    )
    assert [while_cut[number] for number in (0, 3, 4, 7)] == [1, 1, 1, 1]
    assert parted > calm and after < parted
    assert max(began_s, cut_s) < TIMEOUT_S + 10  # of silence a peer hears nothing but the clock


def rss_mib(peers: LocalPeers, name: str) -> float:
    statm = Path(f"/proc/{peers.running[name].pid}/statm").read_text()
    return int(statm.split()[1]) * 4096 / 2**20


def test_attackers_are_turned_away_counted_and_named(peers_of):
    """`peer-3` does not run: whoever attacks has its certificate."""
    peers = peers_of(
        settings={"wait_s": 30, "timeout_s": TIMEOUT_S},
        **ENDLESS, peers=4, topology={"kind": "complete"}, evaluate_every=10,
    )  # fmt: skip
    three, target, attacker = peers.names[:3], "peer-0", "peer-3"
    peers.start(*three)
    wait_for(lambda: min(map(peers.rounds, three)) >= 10, START_S)
    run = read_model(peers.folder / "peers.yaml", PeerList).run
    before_mib, began = rss_mib(peers, target), rounds(peers, three)

    def attack(changes, vector=None, chunks=None, of=attacker):
        pieces = cut(np.ones(SIZE, np.float32) if vector is None else vector)
        plain = {
            "run": run, "sender": attacker, "session": 1, "round": peers.rounds(target) + 1,
            "step": 0, "kind": "vector", "dtype": pieces.dtype, "shape": pieces.shape,
            "digest": pieces.digest,
        }  # fmt: skip
        with channel(peers.folder, peers.address(target), target, of) as line:
            header = Header(**{**plain, **changes})
            return send(line, header, pieces.chunks if chunks is None else chunks, timeout_s=60)

    def refused(who):
        events = peers.lines(target, "events.jsonl")
        events = [e for e in events if e["kind"] == "refused" and e["peer"] == who]
        return {e["reason"]: e["count"] for e in events}

    def ahead():
        """A round that the target has not done."""
        return {"session": 2, "round": peers.rounds(target) + 3}

    def gigabyte():
        return (bytes(CHUNK) for _ in range(1024))

    def replays():
        newest = ahead()
        old = {**newest, "round": newest["round"] - 1}
        return attack(newest)[0] == "OK" and attack(old)[0] == "ALREADY_EXISTS"

    def is_refused(*what):
        """Unless it comes too late to be looked at."""
        return attack(ahead(), *what)[0] == "INVALID_ARGUMENT"

    assert attack({}, of=None)[0] == "UNAVAILABLE"  # without a certificate
    wait_for(replays)
    assert attack({"shape": (2**28,)}, None, gigabyte())[0] == "INVALID_ARGUMENT"
    wait_for(lambda: is_refused(None, gigabyte()))
    wait_for(lambda: is_refused(np.full(SIZE, np.nan, np.float32)))
    assert attack({"sender": "peer-1"})[0] == "PERMISSION_DENIED"
    revoke(peers.folder, attacker)
    assert attack({"session": 3})[0] == "UNAUTHENTICATED"
    wait_for_rounds(peers, three, 20)
    after_mib = rss_mib(peers, target)
    attacked_s = longest(peers, three, began)
    reasons = {"replayed", "shape", "size", "not-finite", "other-sender", "revoked"}
    assert refused(attacker).keys() == reasons
    assert {"handshake": 1} in [refused(who) for who in SOMEBODY]
    assert sum(line["refused"] for line in peers.lines(target)) >= 6
    assert after_mib < before_mib + 64

    revoke(peers.folder, "peer-2")  # while it runs
    rest = ["peer-0", "peer-1"]
    wait_for(lambda: "revoked" in refused("peer-2"), 120)
    revoked_at = rounds(peers, rest)
    wait_for_rounds(peers, rest, 20)
    revoked_s = longest(peers, rest, revoked_at)
    assert [peers.lines(name)[-1]["heard"] for name in rest] == [1, 1]
    assert revoked_s < TIMEOUT_S / 2
    told = peers.said("peer-2", "refused_by")
    tell(
        peers,
        {"refused", "refused_by", "peer_down", "peer_up", "peer_left"},
        rss_mib=[before_mib, after_mib],
        longest_round_s={"attacked": attacked_s, "revoked": revoked_s},
        refused={who: refused(who) for who in (attacker, *SOMEBODY, "peer-2")},
    )
    assert "revoked" in told[0]
