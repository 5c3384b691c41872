import random
import sys

import numpy as np
import pytest
import torch
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from covey.federation.grids import InlineGrid


def app_of(train):
    app = ClientApp()
    app.train()(train)
    return app


def reply(message, **metrics):
    return Message(RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)


def messages_for(grid, *clients, number=1, kind="train", **rest):
    nodes = grid.get_node_ids()
    config = ConfigRecord({"server-round": number})
    return [Message(RecordDict({"config": config}), nodes[c], kind, **rest) for c in clients]


def draw(message, context):
    """What a client draws from the three generators."""
    return reply(message, p=random.random(), n=np.random.random(), t=torch.rand(()).item())


def draws(replies):
    return [dict(reply.content["metrics"]) for reply in replies]


def test_a_stock_fedavg_runs_on_it_and_averages_as_a_plain_loop_does():
    def train(message, context):
        weights = message.content["arrays"]["w"].numpy()
        size = context.node_config["partition-id"] + 1
        new = weights * 0.5 + size * np.arange(4)
        records = {
            "arrays": ArrayRecord({"w": Array(new)}),
            "metrics": MetricRecord({"num-examples": size}),
        }
        return Message(RecordDict(records), reply_to=message)

    grid = InlineGrid(app_of(train), num_clients=5)
    assert isinstance(grid, Grid)
    start = ArrayRecord({"w": Array(np.ones(4))})
    result = FedAvg(fraction_evaluate=0.0).start(grid=grid, initial_arrays=start, num_rounds=7)

    expected = np.ones(4)
    for _ in range(7):
        clients = [expected * 0.5 + size * np.arange(4) for size in range(1, 6)]
        total = sum(size * client for size, client in enumerate(clients, start=1))
        expected = total / (1 + 2 + 3 + 4 + 5)
    assert np.allclose(result.arrays["w"].numpy(), expected, rtol=0, atol=1e-12)


def test_draws_depend_on_round_client_and_kind_and_on_nothing_else():
    app = app_of(draw)
    app.evaluate()(draw)
    grid = InlineGrid(app, num_clients=4, seed=9)
    first = draws(grid.send_and_receive(messages_for(grid, 0, 1, 2, 3)))
    backwards = draws(grid.send_and_receive(messages_for(grid, 3, 1, 0)))
    assert backwards == [first[3], first[1], first[0]]
    assert len({tuple(d.items()) for d in first}) == 4
    assert draws(grid.send_and_receive(messages_for(grid, 0, number=2))) != first[:1]
    assert draws(grid.send_and_receive(messages_for(grid, 0, kind="evaluate"))) != first[:1]
    other = InlineGrid(app, num_clients=4, seed=10)
    assert draws(other.send_and_receive(messages_for(other, 0))) != first[:1]


def test_the_servers_generators_are_as_they_were_before():
    def state():
        return random.random(), np.random.normal(), torch.rand(()).item()

    grid = InlineGrid(app_of(draw), num_clients=3)
    np.random.normal()  # numpy keeps the second of a pair for later
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    expected = state()
    random.setstate(before[0]), np.random.set_state(before[1]), torch.set_rng_state(before[2])
    grid.send_and_receive(messages_for(grid, 0, 1, 2))
    assert state() == expected


def test_clients_cannot_change_what_the_server_holds_nor_the_other_way_round():
    kept = []

    def train(message, context):
        kept.append(message.content)
        message.content["arrays"]["w"].data = b"spoilt"
        message.content["arrays"]["more"] = Array(np.zeros(1))
        message.content["config"]["list"].append(3)
        message.metadata.group_id = "spoilt"
        answer = Message(RecordDict({"metrics": MetricRecord({"l": [1]})}), reply_to=message)
        kept.append(answer.content)
        return answer

    grid = InlineGrid(app_of(train), num_clients=2)
    arrays, config = ArrayRecord({"w": Array(np.ones(2))}), ConfigRecord({"list": [1]})
    records = RecordDict({"arrays": arrays, "config": config})
    messages = [Message(records, node, "train", group_id="a") for node in grid.get_node_ids()]
    answers = grid.send_and_receive(messages)
    assert not any(answer.has_error() for answer in answers)
    assert np.array_equal(arrays["w"].numpy(), np.ones(2)) and list(arrays) == ["w"]
    assert config["list"] == [1] and messages[0].metadata.group_id == "a"
    kept[1]["metrics"]["l"].append(2)
    assert answers[0].content["metrics"]["l"] == [1]


def test_a_context_lives_as_long_as_the_grid_and_knows_its_partition():
    def train(message, context: Context):
        counts = context.state.setdefault("count", MetricRecord({"n": 0}))
        counts["n"] += 1
        where = context.node_config
        return reply(
            message,
            n=counts["n"],
            id=where["partition-id"],
            of=where["num-partitions"],
            rate=context.run_config["rate"],
        )

    grid = InlineGrid(app_of(train), num_clients=3, run_config={"rate": 0.5})
    grid.send_and_receive(messages_for(grid, 1))
    answers = draws(grid.send_and_receive(messages_for(grid, 1, 2)))
    assert answers == [
        {"n": 2, "id": 1, "of": 3, "rate": 0.5},
        {"n": 1, "id": 2, "of": 3, "rate": 0.5},
    ]


def test_an_exception_is_an_error_reply_and_leaves_no_trace_in_the_state():
    def train(message, context):
        context.state["x"] = MetricRecord({"n": 1})
        if context.node_config["partition-id"] == 1:
            raise ValueError("no such luck")
        return reply(message)

    grid = InlineGrid(app_of(train), num_clients=2)
    good, bad = grid.send_and_receive(messages_for(grid, 0, 1))
    assert good.has_content()
    assert bad.error.code == 2
    assert "no such luck" in bad.error.reason
    assert bad.metadata.src_node_id == grid.get_node_ids()[1]
    assert list(grid.states) == [0]


def test_what_clients_have_kept_can_be_taken_back():
    def train(message, context):
        context.state["x"] = MetricRecord({"round": message.content["config"]["server-round"]})
        return reply(message)

    grid = InlineGrid(app_of(train), num_clients=4)
    grid.send_and_receive(messages_for(grid, 0, 1, number=1))
    grid.mark()
    for number in (2, 3):  # twice in one attempt
        grid.send_and_receive(messages_for(grid, 0, 1, 2, number=number))
    first, second, third, _ = grid.get_node_ids()
    grid.take_back([first, third])
    assert {client: state["x"]["round"] for client, state in grid.states.items()} == {0: 1, 1: 3}
    grid.mark()
    grid.take_back([second])
    assert grid.states[1]["x"]["round"] == 3


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (lambda message, context: sys.exit(3), "SystemExit"),
        (lambda message, context: None, "returned NoneType, not a Message"),
        (lambda message, context: message, "is no reply"),
        (
            lambda message, context: context.run_config.update(a=1) or reply(message),
            "changed context.run_config",
        ),
    ],
)
def test_what_breaks_the_rules_is_an_error_reply(train, words):
    grid = InlineGrid(app_of(train), num_clients=1)
    assert words in grid.send_and_receive(messages_for(grid, 0))[0].error.reason
    assert grid.run_config == {}


def test_a_node_that_does_not_exist_is_an_error_reply():
    grid = InlineGrid(app_of(draw), num_clients=1)
    messages = [Message(RecordDict(), node, "train") for node in (1, 77)]
    answers = grid.send_and_receive(messages)
    assert [answer.error.code for answer in answers] == [5, 5]


def test_replies_wait_to_be_pulled_once_in_the_order_they_were_sent():
    grid = InlineGrid(app_of(draw), num_clients=12)
    ids = grid.push_messages(messages_for(grid, *range(12)))
    answers = grid.pull_messages(set(ids[2:]))
    assert [answer.metadata.reply_to_message_id for answer in answers] == ids[2:]
    assert len(grid.pull_messages(ids)) == 2
    assert grid.pull_messages(ids) == []


class Clock:
    """Seconds since the epoch of the messages, as far as a test moves them."""

    def __init__(self):
        self.ahead = 0.0
        self.base = messages_created_at()

    def __call__(self):
        return self.base + self.ahead


def messages_created_at():
    return Message(RecordDict(), 2, "train").metadata.created_at


def test_time_limits_and_times_to_live_count_unless_there_is_no_clock():
    InlineGrid(app_of(draw), num_clients=1)  # lets this process build messages
    clock = Clock()

    def slow(message, context):
        clock.ahead += 10
        context.state["x"] = MetricRecord({"n": clock.ahead})
        return reply(message)

    grid = InlineGrid(app_of(slow), num_clients=5, clock=clock)
    assert len(grid.send_and_receive(messages_for(grid, 0, 1, 2, 3, 4), timeout=25)) == 3
    (late,) = grid.send_and_receive(messages_for(grid, 0, ttl=5.0))
    assert late.error.code == 4
    assert grid.states[0]["x"]["n"] == 10  # as if the late one had never been asked
    timeless = InlineGrid(app_of(slow), num_clients=5, clock=None)
    answers = timeless.send_and_receive(messages_for(timeless, 0, 1, 2, ttl=5.0), timeout=1)
    assert [answer.has_content() for answer in answers] == [True] * 3


def test_at_least_one_client():
    with pytest.raises(ValueError, match="num_clients is 0"):
        InlineGrid(app_of(draw), num_clients=0)
