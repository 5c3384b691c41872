"""Peer-to-peer jobs from beginning to end, by engine batched."""

import json
import subprocess
import sys
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from peer_jobs import METHODS, MOVING

from covey.federation.p2p.learners import MODEL, vectors_of
from covey.federation.p2p.links import links_of
from covey.federation.p2p.measuring import accuracies, disagreement
from covey.federation.p2p.rounds import Schedule, make_method
from covey.federation.p2p.task import Task
from covey.federation.p2p.training import Trainer
from covey.platform.driver import run_attempt
from covey.platform.runs.folder import RunFolder
from covey.platform.workload import find_workload


def vectors(path: Path) -> np.ndarray:
    folder = RunFolder.open(path)
    arrays = folder.newest_checkpoint().arrays(MODEL)
    return vectors_of(arrays, Task.of(folder.job()).shapes)


def test_importing_the_workload_loads_nothing_heavy():
    code = (
        "import sys; import covey.federation.p2p.workload;"
        "heavy = {'torch', 'flwr', 'ray', 'networkx', 'scipy'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_run_reports_both_points_of_a_round(train):
    run = train(rounds=4, evaluate_every=2)
    assert [line["step"] for line in run.metrics] == [0, 1, 2, 3, 4]
    assert [line["step"] for line in run.metrics if "accuracy" in line] == [0, 2, 4]
    last = run.metrics[-1]
    for at in ("", "_local"):
        assert last[f"accuracy{at}_min"] <= last[f"accuracy{at}"] <= last[f"accuracy{at}_max"]
    assert last["disagreement"] < last["disagreement_local"]
    # A ring: two neighbours, and 650 numbers of 4 bytes for each.
    assert last["bytes_per_peer"] == 2 * 2600 and last["messages_per_peer"] == 2
    assert last["bytes_per_link"] == 2600
    assert "accuracy_local" not in run.metrics[0]
    assert run.metrics[0]["bytes_per_peer"] % (2 * 2600) == 0


def test_figures_are_those_of_the_saved_vectors(train):
    run = train(peers=5, evaluate_samples=100)
    found, task = vectors(run.path), Task.of(RunFolder.open(run.path).job())
    each = accuracies(task, found, *task.test_data())
    assert run.metrics[-1]["accuracy"] == pytest.approx(each.mean())
    assert run.metrics[-1]["accuracy_min"] == pytest.approx(each.min())
    mean = found.mean(0, dtype=float)
    apart = np.sqrt((np.linalg.norm(found - mean, axis=1) ** 2).mean()) / np.linalg.norm(mean)
    assert run.metrics[-1]["disagreement"] == pytest.approx(apart, rel=1e-5)


def test_accuracy_counts_right_answers(train):
    """By the model itself, for each app."""
    import torch

    from covey.federation.apps.models import make_model
    from covey.federation.data import load

    for app in ("logistic", "mlp", "cnn", "strided-cnn"):
        run = train(rounds=2, peers=3, app=app)
        task = Task.of(RunFolder.open(run.path).job())
        images, labels = task.test_data()
        found = accuracies(task, vectors(run.path), images, labels)
        arrays = RunFolder.open(run.path).newest_checkpoint().arrays(MODEL)
        for peer in range(3):
            model = make_model(app, 64, 10, load("digits").spec.image)
            own = {name: torch.tensor(array[peer]) for name, array in arrays.items()}
            model.load_state_dict(own)
            with torch.no_grad():
                right = (model(images).argmax(1) == labels).double().mean()
            assert found[peer] == pytest.approx(float(right))


def test_the_graph_is_told(train):
    said = train(peers=10, weights="metropolis").said("topology")
    assert "ring of 10 peers, 10 links, 2 to 2 neighbours, diameter 5" in said
    assert "second eigenvalue 0.87268, spectral gap 0.127" in said
    said = train(topology={"kind": "erdos-renyi", "p": 0.01, "connected": False}).said("topology")
    assert "not connected; second eigenvalue 1.00000" in said


def test_agreement_before_the_first_round(train):
    run = train(peers=10)
    (event,) = (event for event in run.events if event["kind"] == "synchronised")
    task = Task.of(RunFolder.open(run.path).job())
    norms = [np.linalg.norm(task.first(peer)) for peer in range(10)]
    far = nx.eccentricity(nx.cycle_graph(10), int(np.argmax(norms)))
    assert event["exchanges"] == far
    assert run.metrics[0]["disagreement"] == 0
    assert run.metrics[0]["bytes_per_peer"] == far * 2 * 2600
    assert train(start="independent").metrics[0]["disagreement"] > 0.5


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns(train, method):
    run = train(rounds=25, method=method, evaluate_every=25, **METHODS[method])
    assert run.metrics[-1]["accuracy"] > 0.8


@pytest.mark.parametrize("method", METHODS)
def test_peers_alone_end_where_the_batched_run_does(train, method):
    """Each with a model, a trainer and links of its own, and messages in between."""
    run = train(
        rounds=10, peers=8, method=method, local=MOVING, precision="float64",
        evaluate_every=10, **METHODS[method],
    )  # fmt: skip
    task = Task.of(RunFolder.open(run.path).job())
    section, peers = task.section, range(8)
    schedule = Schedule(section, task.seed, task.sizes)
    params = np.stack([task.first(peer) for peer in peers])
    if section.start == "max-norm":
        params[:] = params[np.argmax(np.linalg.norm(params, axis=1))]
    own = [make_method(section, params[p : p + 1].copy(), schedule.links(1, p), task.seed)
           for p in peers]  # fmt: skip
    trainers = [Trainer(task, [peer]) for peer in peers]
    for round_ in range(1, 11):
        for method_, trainer in zip(own, trainers, strict=True):
            method_.begin()
            trainer.train(method_.params, round_, method_.pull())
        links = [schedule.links(round_, peer) for peer in peers]
        for _ in range(own[0].exchanges):
            sent = [one.send(near, round_) for one, near in zip(own, links, strict=True)]
            sent = [{name: array.copy() for name, array in one.items()} for one in sent]
            for one, near in zip(own, links, strict=True):
                heard = [sent[sender] for sender in near.senders]
                one.receive(
                    {name: np.concatenate([each[name] for each in heard]) for name in heard[0]},
                    near, round_,
                )  # fmt: skip
    found = np.concatenate([one.params for one in own])
    np.testing.assert_allclose(found, vectors(run.path), rtol=0, atol=1e-10)


def test_float32_stays_near_float64(train):
    keys = {"rounds": 10, "app": "mlp", "hidden": 16, "local": MOVING}
    single, double = (vectors(train(precision=kind, **keys).path) for kind in
                      ("float32", "float64"))  # fmt: skip
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(single, double, atol=1e-4)


def test_a_complete_graph_is_fedavg(train):
    """The same local steps, combined by a server, with unequal shares of the data."""
    parts = {"kind": "quantity", "alpha": 1.0, "min_size": 12}
    run = train(
        peers=4, topology={"kind": "complete"}, precision="float64",
        data={"name": "digits", "partition": parts},
    )  # fmt: skip
    task = Task.of(RunFolder.open(run.path).job())
    clients = np.stack([task.first(peer) for peer in range(4)])
    server, trainer = clients[np.argmax(np.linalg.norm(clients, axis=1))], Trainer(task, range(4))
    for round_ in (1, 2, 3):
        clients = np.tile(server, (4, 1))
        trainer.train(clients, round_, None)
        server = np.average(clients, axis=0, weights=task.sizes)
    np.testing.assert_allclose(vectors(run.path), np.tile(server, (4, 1)), atol=1e-12)


TWENTY = {
    "peers": 20,
    "app": "mlp",
    "hidden": 32,
    "local": {"steps": 5, "batch_size": 10, "learning_rate": 0.1, "momentum": 0.5},
}


def test_one_beginning_for_all_is_the_faster_start(train):
    """On a complete graph, where means of different first weights are nearly nothing at all."""
    apart, agreed = (
        train(rounds=5, topology={"kind": "complete"}, start=start, **TWENTY).metrics[-1]
        for start in ("independent", "max-norm")
    )
    assert agreed["accuracy"] > apart["accuracy"] + 0.08


def test_affinity_damps_the_swing_of_accuracy(train):
    """Two peers with half the classes each: accuracy falls in the local steps and comes back."""
    keys = {
        **TWENTY,
        "peers": 2,
        "topology": {"kind": "complete"},
        "data": {"name": "digits", "partition": {"kind": "classes", "classes_per_client": 5}},
        "local": {**TWENTY["local"], "learning_rate": 0.05},
        "rounds": 60,
    }
    swings, ends = [], []
    for affinity in (None, 0.5, 1.0):
        run = train(**keys, affinity=affinity)
        after, before = run.column("accuracy")[21:], run.column("accuracy_local")[20:]
        swings.append(np.mean(np.abs(np.array(after) - before)))
        ends.append(np.mean(after[-20:]))
    assert swings[0] > swings[1] > swings[2]
    assert min(ends[1:]) > ends[0] - 0.01


def test_affinity_costs_no_byte(train):
    plain, leaning = (train(**more) for more in ({}, {"affinity": 0.5}))
    for name in ("bytes_per_peer", "messages_per_peer"):
        assert plain.column(name) == leaning.column(name)
    assert plain.part(MODEL) != leaning.part(MODEL)


def test_a_cut_heals(train):
    cut = {"groups": 2, "from": 2, "until": 6}
    run = train(
        rounds=12, peers=8, topology={"kind": "complete", "cut": cut},
        data={"name": "digits", "partition": {"kind": "classes"}},
    )  # fmt: skip
    apart = run.column("disagreement")
    assert max(apart[1:2] + apart[6:]) < 1e-6 < 0.01 < min(apart[2:6])
    assert run.column("messages_per_peer") == [7] + [3] * 4 + [7] * 7


def test_a_peer_gone_astray_is_a_users_mistake(create):
    local = {"steps": 5, "batch_size": 10, "learning_rate": 1e30}
    outcome = run_attempt(create(rounds=9, app="mlp", local=local, evaluate_every=9))
    assert outcome.error is not None and "lower local.learning_rate" in outcome.error


def test_gossip_sends_to_one_at_most(train):
    assert max(train(method="gossip", rounds=5).column("messages_per_peer")) <= 1


def test_stops_at_an_accuracy_and_evaluates(train):
    run = train(job={"stop": {"rounds": 200, "accuracy": 0.85}})
    assert "accuracy" in run.result["reason"] and run.metrics[-1]["accuracy"] >= 0.85


def test_a_run_can_be_evaluated_and_used(train):
    run = train(rounds=15, app="mlp", hidden=16)
    workload = find_workload("peer-to-peer")
    figures = workload.evaluate(run.path, 0)
    assert figures["accuracy"] == pytest.approx(run.metrics[-1]["accuracy"])  # 360 test samples
    from covey.federation.data import load_raw

    _, _, images, labels = load_raw("digits")
    answers = workload.load_policy(run.path).act(images)
    assert (answers == labels).mean() > 0.8


def test_the_table_of_peers(train):
    table = json.loads((train(peers=5).path / "peers.json").read_text())
    assert table["round"] == 3 and len(table["accuracy"]) == len(table["samples"]) == 5
    assert table["edges"] == [[0, 1], [0, 4], [1, 2], [2, 3], [3, 4]]


def test_disagreement_of_vectors_by_hand():
    assert disagreement(np.array([[3.0, 0.0], [5.0, 0.0]])) == pytest.approx(0.25)
    assert disagreement(np.zeros((3, 2))) == 0


def test_a_hundred_times_the_same_links_are_made_once(parse):
    task = Task.of(parse())
    schedule = Schedule(task.section, task.seed, task.sizes)
    assert schedule.links(1) is schedule.links(9)
    graph = schedule.topology.graph(1)
    alone = links_of(graph, schedule.matrix(graph), 2)
    assert alone.senders.tolist() == [1, 2, 3] and alone.peers.tolist() == [2]
