"""FedDistill and FedDistill+ as strategies of jobs: averages by label, identities, refusals."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from safetensors.numpy import load as load_arrays

from covey.federation.feddistill import LABELS, LOGITS, FedDistill
from covey.federation.flower_internals import become_server, reply_to
from covey.platform.errors import UserError

LOCAL = {"steps": 5, "batch_size": 16, "learning_rate": 0.05}
DATA = {"name": "digits", "partition": {"kind": "dirichlet", "alpha": 0.1}}
SECTION = {"cohort": 4, "data": DATA, "local": LOCAL}


def reply(labels, rows, **metrics):
    """Of a client that has told of these labels: their logits by label, of three in all."""
    become_server()
    flags, logits = [0.0] * 3, np.zeros((3, 3))
    for label, row in zip(labels, rows, strict=True):
        flags[label], logits[label] = 1.0, row
    return told({LABELS: flags, LOGITS: logits.flatten().tolist()}, **metrics)


def told(lists, **metrics):
    content = RecordDict(
        {
            "arrays": ArrayRecord({"w": Array(np.zeros(1, np.float32))}),
            "metrics": MetricRecord({"num-examples": 1, **lists, **metrics}),
        }
    )
    return reply_to(Message(RecordDict(), dst_node_id=1, message_type="train"), content)


def test_logits_of_a_label_are_averaged_over_those_who_have_it():
    strategy = FedDistill(FedAvg(), 1.0)
    replies = [reply([0, 2], [[1, 2, 3], [4, 5, 6]]), reply([2], [[8, 9, 10]]), told({})]
    strategy.aggregate_train(1, replies)
    assert strategy.known.tolist() == [True, False, True]
    assert strategy.logits.tolist() == [[1, 2, 3], [0, 0, 0], [6, 7, 8]]
    strategy.aggregate_train(2, [reply([1], [[1, 1, 1]])])
    assert strategy.known.all()
    assert strategy.logits.tolist() == [[1, 2, 3], [1, 1, 1], [6, 7, 8]]


def test_what_makes_no_sense_is_left_out():
    strategy = FedDistill(FedAvg(), 1.0)
    strategy.aggregate_train(1, [reply([1], [[1, 2, 3]])])
    bad = [
        told({LABELS: [1.0, 1.0], LOGITS: [9.0] * 4}),
        told({LABELS: [1.0, 1.0, 1.0], LOGITS: [9.0] * 4}),
        told({LABELS: [1.0, 1.0, 1.0], LOGITS: [float("nan")] * 9}),
        told({LABELS: [], LOGITS: []}),
    ]
    strategy.aggregate_train(2, bad)
    assert strategy.known.tolist() == [False, True, False]
    assert strategy.logits[1].tolist() == [1, 2, 3]


def test_strategies_inside_see_nothing_of_it():
    told = FedDistill(FedAvg(), 1.0).aggregate_train(1, [reply([0], [[1, 2, 3]], loss=0.5)])[1]
    assert dict(told) == {"loss": 0.5}


def test_without_weight_the_plus_is_fedavg(train):
    section = {**SECTION, "strategy": {"name": "feddistill+", "weight": 0}}
    plain = train("mlp", clients=6, rounds=3, federated=SECTION)
    assert train("mlp", clients=6, rounds=3, federated=section).model == plain.model
    section["strategy"]["weight"] = 1.0
    assert train("mlp", clients=6, rounds=3, federated=section).model != plain.model


def test_nothing_but_logits_is_exchanged(train):
    section = {**SECTION, "strategy": {"name": "feddistill"}}
    run = train("mlp", clients=6, rounds=4, federated=section)
    plus = {**SECTION, "strategy": {"name": "feddistill+"}}
    model = train("mlp", clients=6, rounds=4, federated=plus)
    assert load_arrays(run.model) == {}
    assert run.metrics[-1]["bytes_up"] < model.metrics[-1]["bytes_up"] / 10
    assert all(line["clients"] == 4 for line in (*run.metrics, *model.metrics[1:]))
    # Each client knows its own labels, and little of the others.
    assert run.metrics[-1]["accuracy_seen_labels"] > run.metrics[-1]["accuracy"] + 0.1


@pytest.mark.parametrize("name", ["feddistill", "feddistill+"])
@pytest.mark.parametrize("app", ["logistic", "mlp", "cnn", "strided-cnn"])
def test_alone_and_together_clients_do_the_same(train, app, name):
    section = {**SECTION, "strategy": {"name": name}}
    alone, together = (
        train(app, clients=6, rounds=3, federated={**section, "engine": engine})
        for engine in ("inline", "cohort")
    )
    for figure in ("loss", "accuracy"):
        figure = f"client_{figure}" if name == "feddistill" else figure
        ours, theirs = (run.metrics[-1][figure] for run in (together, alone))
        assert ours == pytest.approx(theirs, abs=1e-4)
    other = {**section, "strategy": {"name": name, "weight": 0}}
    without = train(app, clients=6, rounds=3, federated={**other, "engine": "cohort"})
    loss = "client_loss" if name == "feddistill" else "loss"
    assert without.metrics[-1][loss] != pytest.approx(together.metrics[-1][loss], abs=1e-4)


@pytest.mark.parametrize(
    ("strategy", "more", "said"),
    [
        ({"name": "feddistill", "share": "all"}, {}, "found 'all', allowed is nothing"),
        ({"name": "feddistill+"}, {"differential_privacy": {"clipping": "fixed"}}, "learns more"),
        ({"name": "feddistill"}, {"compression": {"kind": "top-k"}}, "no model to pack"),
        ({"name": "feddistill+", "average": {"name": "krum"}}, {}, "krum is there for clients"),
        ({"name": "feddistill+", "average": {"name": "fedbuff"}}, {}, "fedbuff has no rounds"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(train, strategy, more, said):
    with pytest.raises(UserError, match=said):
        train("mlp", clients=6, federated={**SECTION, "strategy": strategy, **more})
