"""`covey peer`: real peers agree with the batched engine, bear the loss of one, and its return."""

import shutil
import signal

import networkx as nx
import numpy as np
import pytest
import yaml
from loopback import wait_for
from peer_jobs import peer_job

from covey.federation.p2p.learners import MODEL
from covey.federation.p2p.mixing import max_norm_sync
from covey.federation.p2p.peer_start import longer, reach
from covey.platform.exit_status import ExitStatus
from covey.platform.runs.folder import RunFolder

LOCAL = {"steps": 3, "batch_size": 10, "learning_rate": 0.1, "momentum": 0.5}
MLP = {"app": "mlp", "hidden": 16, "local": LOCAL}


def vectors(path):
    return RunFolder.open(path).newest_checkpoint().arrays(MODEL)


@pytest.mark.parametrize(
    ("count", "precision", "apart"),
    [
        (4, "float64", 1e-10),
        pytest.param(8, "float64", 1e-10, marks=pytest.mark.slow),
        pytest.param(8, "float32", 1e-4, marks=pytest.mark.slow),
    ],
)
def test_they_agree_with_the_batched_engine(peers_of, train, count, precision, apart):
    keys = {
        **MLP,
        "rounds": 10,
        "peers": count,
        "precision": precision,
        "topology": {"kind": "ring", "up": 0.7},
        "consensus": {"steps": 2, "damping": 0.8},
        "affinity": 0.5,
        "data": {"name": "digits", "partition": {"kind": "dirichlet"}},
    }
    together = vectors(train(**keys).path)
    peers = peers_of({"wait_s": 600, "timeout_s": 300}, **keys)
    peers.start()
    for number, name in enumerate(peers.names):
        status, said = peers.end(name)
        assert status == ExitStatus.SUCCEEDED, said
        assert len(peers.said(name, "peer_down")) == 0
        alone = vectors(peers.run_dir(name))
        for array, values in alone.items():
            np.testing.assert_allclose(values[0], together[array][number], rtol=0, atol=apart)
    messages = [line["messages_per_peer"] for line in peers.lines("peer-0")]
    assert messages[0] == 2 * (count // 2)  # to agree on the first weights, as far as they go
    assert max(messages[1:]) == 4 and min(messages[1:]) < 4  # two neighbours, two steps; links up


@pytest.mark.slow
def test_kill_9_a_return_and_an_end_on_request(peers_of):
    local = {**LOCAL, "steps": 60}
    peers = peers_of(
        **{**MLP, "local": local}, peers=4, rounds=100_000, evaluate_every=5,
        job={"checkpoint": {"every_rounds": 2}},
    )  # fmt: skip
    peers.start()
    wait_for(lambda: peers.rounds("peer-2") >= 5, limit_s=90)
    peers.kill("peer-2")
    dead_at = peers.rounds("peer-1")
    wait_for(lambda: peers.rounds("peer-1") >= dead_at + 10, limit_s=60)
    assert [line["heard"] for line in peers.lines("peer-1")[-3:]] == [1, 1, 1]
    assert "peer-2 is down" in peers.said("peer-1", "peer_down")[0]
    peers.start("peer-2")
    wait_for(lambda: peers.said("peer-2", "caught_up"), limit_s=90)
    back_at = peers.rounds("peer-1")
    wait_for(lambda: peers.rounds("peer-1") >= back_at + 12, limit_s=60)
    assert peers.lines("peer-1")[-1]["heard"] == 2
    assert peers.said("peer-2", "restored")
    assert "with the weights of peer-" in peers.said("peer-2", "caught_up")[0]
    peers.kill("peer-2")
    shutil.rmtree(peers.run_dir("peer-2"))  # as one that is new
    peers.start("peer-2")
    wait_for(lambda: peers.said("peer-2", "caught_up"), limit_s=90)
    newest = peers.rounds("peer-1") + 12
    # Neighbours that are rounds apart wait for each other, up to 30 s each.
    wait_for(lambda: min(map(peers.rounds, peers.names)) >= newest, limit_s=180)
    assert not peers.said("peer-2", "restored") and peers.lines("peer-2")[-1]["heard"] == 2
    for name in peers.names:
        peers.running[name].send_signal(signal.SIGTERM)
    for name in peers.names:
        status, said = peers.end(name)
        assert status == ExitStatus.STOPPED, said
        assert RunFolder.open(peers.run_dir(name)).newest_checkpoint().step == peers.rounds(name)


@pytest.mark.slow
def test_parts_that_have_lost_each_other_meet_again(peers_of):
    """A ring of four without two opposite ones: the others go on alone, one of them slower."""
    local = {**LOCAL, "steps": 60}
    peers = peers_of(**{**MLP, "local": local}, peers=4, rounds=100_000, evaluate_every=50)
    peers.start()
    wait_for(lambda: peers.rounds("peer-0") >= 3, limit_s=90)
    peers.running["peer-0"].send_signal(signal.SIGSTOP)
    for name in ("peer-1", "peer-3"):
        peers.kill(name)
    wait_for(lambda: peers.rounds("peer-2") >= peers.rounds("peer-0") + 200, limit_s=120)
    peers.running["peer-0"].send_signal(signal.SIGCONT)
    peers.start("peer-1")
    # Whoever is behind when the one between them is back: alone, both are quick.
    parts = ("peer-0", "peer-2")
    wait_for(lambda: any(peers.said(name, "caught_up") for name in parts), limit_s=120)
    newest = max(map(peers.rounds, parts)) + 10
    wait_for(lambda: min(map(peers.rounds, ["peer-0", "peer-1", "peer-2"])) >= newest, limit_s=60)
    assert peers.lines("peer-0")[-1]["heard"] == 1 and peers.lines("peer-1")[-1]["heard"] == 2


@pytest.mark.slow
def test_one_that_hangs_is_waited_for_in_each_round_no_longer_than_timeout_s(peers_of):
    settings = {"wait_s": 240, "timeout_s": 3}  # wait_s is for the first round only
    peers = peers_of(settings, **MLP, peers=2, rounds=100_000)
    peers.start()
    wait_for(lambda: peers.rounds("peer-0") >= 3, limit_s=200)
    peers.running["peer-1"].send_signal(signal.SIGSTOP)
    wait_for(lambda: peers.said("peer-0", "peer_down"), limit_s=100)


def test_a_run_does_not_begin_with_nobody_else(peers_of):
    peers = peers_of({"wait_s": 2}, peers=2)
    peers.start("peer-0")
    status, said = peers.end("peer-0")
    assert status == ExitStatus.USER_MISTAKE
    assert (
        f"no neighbour has answered within 2 s (wait_s): peer-1 at {peers.address('peer-1')}"
        in said
    )


def test_both_sides_are_told_of_different_jobs(peers_of):
    peers = peers_of({"wait_s": 200}, peers=2)
    peers.start("peer-0")
    peers.job = peers.folder.with_name("other.yaml")
    peers.job.write_text(yaml.safe_dump(peer_job(peers=2, weights="uniform")))
    peers.start("peer-1")
    for name, other in [("peer-0", "peer-1"), ("peer-1", "peer-0")]:
        status, said = peers.end(name)
        assert status == ExitStatus.USER_MISTAKE
        assert f"{other} runs another job than this" in said


def message(owner, values):
    return {"owner": np.array([[owner]]), "vector": np.array([values], np.float32)}


def test_the_longer_vector_wins_and_of_equally_long_ones_the_lower_owner():
    short, long, turned = message(0, [1, 1]), message(3, [0, 2]), message(1, [2, 0])
    assert longer(short, long) is longer(long, short) is long
    assert longer(long, turned) is longer(turned, long) is turned
    huge = {"owner": np.array([[9]]), "vector": np.full((1, 2), 1e200)}
    with pytest.raises(ValueError, match="not finite"):
        longer({"owner": short["owner"], "vector": short["vector"].astype(float)}, huge)
    with pytest.raises(ValueError, match=r"of norm 2, where 1\.5 is the limit"):
        longer(short, long, limit=1.5)


@pytest.mark.parametrize(
    ("graph", "exchanges"),
    [
        (nx.path_graph(5), 4),
        (nx.cycle_graph(6), 3),
        (nx.complete_graph(3), 1),
        (nx.cycle_graph(4, create_using=nx.DiGraph), 3),
        (nx.disjoint_union(nx.path_graph(3), nx.empty_graph(2)), 2),
    ],
)
def test_as_many_exchanges_as_the_longest_vector_may_need(graph, exchanges):
    assert reach(graph, 1) == exchanges
    params = np.eye(len(graph))[:, :1] + 1  # that of peer 0 is the longest
    assert max_norm_sync(params, graph)[1] <= exchanges
