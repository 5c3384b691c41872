"""Packed replies, from the client's mod to the strategy that never sees them."""

import random

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg
from safetensors.numpy import load as load_arrays

from covey.federation.compression import (
    CONFIG,
    Restoring,
    quantised_mod,
    restored,
    top_k_mod,
)
from covey.federation.flower_internals import records_to_bytes
from covey.federation.grids import InlineGrid

SIZE = 10_000


def client_app(*mods):
    """Clients that move every weight by a random step, from the seed of the message."""
    app = ClientApp(mods=list(mods))

    @app.train()
    def train(message: Message, context: Context) -> Message:
        old = message.content["arrays"]["w"].numpy()
        new = old + np.random.standard_normal(old.shape).astype(np.float32)
        arrays = ArrayRecord({"w": Array(new), "count": message.content["arrays"]["count"]})
        metrics = MetricRecord({"num-examples": 1 + int(context.node_config["partition-id"])})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    return app


def start(side=100):
    arrays = np.zeros((side, side), np.float32), np.array(3)
    return ArrayRecord({"w": Array(arrays[0]), "count": Array(arrays[1])})


def replies_of(app, arrays=None, strategy=None):
    grid = InlineGrid(app, num_clients=3)
    strategy = strategy or FedAvg()
    messages = strategy.configure_train(1, arrays or start(), ConfigRecord(), grid)
    return grid, list(grid.send_and_receive(messages))


def size_of(reply):
    return len(records_to_bytes(reply.content))


@pytest.mark.parametrize(
    ("mod", "factor"),
    [
        (top_k_mod(0.01), 48),
        (top_k_mod(0.1), 4.9),
        (quantised_mod(8), 3.9),
        (quantised_mod(4), 7.9),
        (quantised_mod(1), 31),
    ],
    ids=["1 %", "10 %", "8 bits", "4 bits", "1 bit"],
)
def test_the_bytes_on_the_wire_are_fewer(mod, factor):
    """A reply of 250,000 weights takes 1,000,394 bytes whole."""
    _, whole = replies_of(client_app(), start(500))
    _, packed = replies_of(client_app(mod), start(500))
    assert size_of(whole[0]) > 1_000_000
    assert size_of(whole[0]) / size_of(packed[0]) > factor


def test_top_k_of_everything_is_as_if_there_were_no_mod():
    def train(*mods, around=lambda strategy: strategy):
        random.seed(1)  # the order of the clients, in which their models are added up
        grid = InlineGrid(client_app(*mods), num_clients=3)
        strategy = around(FedAvg(fraction_evaluate=0.0))
        return strategy.start(grid, start(), num_rounds=3).arrays

    plain, packed = train(), train(top_k_mod(1), around=Restoring)
    assert list(packed) == list(plain)
    for name in plain:
        assert packed[name].data == plain[name].data


def test_what_is_left_out_arrives_in_later_rounds():
    """Sent + left out is all that the client ever wanted to add."""
    grid = InlineGrid(client_app(top_k_mod(0.2)), num_clients=3)
    strategy, arrays = Restoring(FedAvg()), start()
    wanted = np.zeros(SIZE, np.float32)
    for number in range(1, 4):
        grid.round = number
        messages = list(strategy.configure_train(number, arrays, ConfigRecord(), grid))
        plain = InlineGrid(client_app(), num_clients=3)
        plain.round = number
        one = [message for message in messages if message.metadata.dst_node_id == 2]
        wanted += next(iter(plain.send_and_receive(one))).content["arrays"]["w"].numpy().ravel()
        wanted -= arrays["w"].numpy().ravel()
        mine = next(iter(restored(strategy, list(grid.send_and_receive(one)))))
        arrays = mine.content["arrays"]
    left_out = grid.states[0].array_records["compression-left-out"]["w"].numpy().ravel()
    assert np.count_nonzero(left_out) > SIZE / 2
    assert np.abs(arrays["w"].numpy().ravel() + left_out - wanted).max() < 1e-5


def test_a_reply_that_cannot_be_is_an_error_and_the_others_count():
    strategy = Restoring(FedAvg())
    _, replies = replies_of(client_app(top_k_mod(0.01)), strategy=strategy)
    names = list(replies[0].content["arrays"])
    bad = replies[0].content["arrays"]
    bad[names[0]] = Array(np.full(100, 4_000_000_000, np.uint32))
    counted = restored(strategy, replies)
    assert counted[0].has_error() and "rising order" in counted[0].error.reason
    assert counted[0].metadata.src_node_id == replies[0].metadata.src_node_id
    arrays, _ = strategy.aggregate_train(1, counted)
    assert arrays["w"].numpy().shape == (100, 100) and arrays["count"].numpy() == 3


@pytest.mark.parametrize("config", [{"kind": "zip"}, {"kind": "quantised", "bits": 3}])
def test_a_reply_with_another_packing_than_it_says_is_an_error(config):
    strategy = Restoring(FedAvg())
    _, replies = replies_of(client_app(top_k_mod(0.01)), strategy=strategy)
    replies[1].content[CONFIG] = ConfigRecord(config)
    assert [reply.has_error() for reply in restored(strategy, replies)] == [False, True, False]


def test_a_mod_around_an_app_that_sends_something_else_says_so():
    app = ClientApp(mods=[top_k_mod()])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        arrays = ArrayRecord({"other": Array(np.zeros(3))})
        return Message(RecordDict({"arrays": arrays}), reply_to=message)

    _, replies = replies_of(app)
    assert "needs a reply with the arrays that the message has" in replies[0].error.reason


@pytest.mark.parametrize("wrong", [lambda: top_k_mod(0), lambda: quantised_mod(17)])
def test_wrong_options_of_a_mod(wrong):
    with pytest.raises(ValueError, match="must be"):
        wrong()


LOCAL = {"steps": 5, "batch_size": 16, "learning_rate": 0.1}


def test_a_job_with_top_k_of_everything_equals_one_without_compression(train):
    section = {"local": LOCAL}
    plain = train("mlp", clients=3, federated=section)
    packed = train(
        "mlp", clients=3, federated={**section, "compression": {"kind": "top-k", "fraction": 1}}
    )
    one, other = load_arrays(plain.model), load_arrays(packed.model)
    assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "options", [{"kind": "top-k", "fraction": 0.05}, {"kind": "quantised", "bits": 4}]
)
def test_a_job_with_compression_learns(train, options):
    section = {"local": LOCAL, "compression": options}
    run = train("logistic", clients=3, rounds=8, federated=section)
    assert run.metrics[-1]["accuracy"] > 0.7
