"""Local training as a pure function: together as alone, in one program and in a Grid."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

from covey.federation.cohort_grid import CohortGrid
from covey.federation.grids import InlineGrid
from covey.federation.local_client import client_app, train_alone
from covey.federation.local_program import LocalProgram
from covey.federation.local_together import Trainee, train_together
from covey.federation.local_training import Client, Round
from covey.platform.errors import UserError

SAMPLES = [5, 12, 3, 8]
"""Of each client, in minibatches of 4 or less. The model w [2] goes a tenth of the way to the mean
of each of them.
"""


def minibatches(client, told, generator):
    samples = torch.arange(2.0 * SAMPLES[client.partition_id]).view(-1, 2) + client.partition_id
    parts = torch.randperm(len(samples), generator=generator).split(4)
    return ((samples[part],) for part in parts), {"num-examples": len(samples)}


def step(parameters, minibatch, told):
    (samples,) = minibatch
    way = samples.mean(0) - parameters["w"]
    return {"w": parameters["w"] + told.config["lr"] * way}, {"way": way.abs().sum()}


def training(**replaced):
    return SimpleNamespace(**{"minibatches": minibatches, "step": step, **replaced})


TOLD = Round({"lr": 0.1}, {}, {"w": torch.zeros(2)})


def seeded(number):
    return torch.Generator().manual_seed(number)


def together(local, *numbers):
    return train_together(local, [Trainee(Client(n, 4), seeded(n)) for n in numbers], TOLD)


def test_each_client_is_trained_as_it_would_be_alone():
    order = [2, 0, 1, 3]
    for number, ours in zip(order, together(training(), *order), strict=True):
        alone = train_alone(training(), Client(number, 4), TOLD, seeded(number))
        torch.testing.assert_close(ours.arrays, alone.arrays, rtol=0, atol=1e-6)
        assert ours.metrics == pytest.approx(alone.metrics)
        assert ours.metrics["num-examples"] == SAMPLES[number]
    assert TOLD.received["w"].tolist() == [0.0, 0.0]


def test_clients_whose_minibatches_are_alike_take_one_step():
    calls = []

    def counted(*arguments):
        calls.append(1)
        return step(*arguments)

    together(training(step=counted), 0, 1, 2, 3)
    # 4+1, 4+4+4, 3 and 4+4 samples: in turn 8 steps; together {4, 3}, {1, 4}, {4}
    assert len(calls) == 5


def test_what_a_step_needs_besides_begins_anew_and_is_not_sent():
    def pushed(parameters, minibatch, told):
        new, metrics = step(parameters, minibatch, told)
        push = 0.5 * parameters["push"] + new["w"] - parameters["w"]
        return {"w": parameters["w"] + push, "push": push}, metrics

    local = training(step=pushed, optimizer_state=lambda r: {"push": torch.zeros_like(r["w"])})
    for ours, number in zip(together(local, 1, 3), (1, 3), strict=True):
        alone = train_alone(local, Client(number, 4), TOLD, seeded(number))
        torch.testing.assert_close(ours.arrays, alone.arrays, rtol=0, atol=1e-6)
        plain = train_alone(training(), Client(number, 4), TOLD, seeded(number))
        assert set(ours.arrays) == {"w"} and not ours.arrays["w"].equal(plain.arrays["w"])


def ask(grid, arrays=None, kind="train", **config):
    arrays = arrays or ArrayRecord({"w": Array(np.zeros(2, np.float32))})
    config = ConfigRecord({"server-round": 1, "lr": 0.1, **config})
    records = RecordDict({"arrays": arrays, "config": config})
    return grid.send_and_receive([Message(records, node, kind) for node in grid.get_node_ids()])


def cohort(local, app=None):
    program = LocalProgram(local, "my_app.task:local", 4, 9, {})
    # An empty ClientApp replies to every message with an error.
    return CohortGrid(app or ClientApp(), program, num_clients=4, seed=9)


def inline(local):
    return InlineGrid(client_app(local), num_clients=4, seed=9)


def test_the_grid_draws_what_the_client_app_would_draw():
    for ours, theirs in zip(ask(cohort(training())), ask(inline(training())), strict=True):
        one, other = ours.content, theirs.content
        np.testing.assert_allclose(one["arrays"]["w"].numpy(), other["arrays"]["w"].numpy(), 1e-6)
        assert dict(one["metrics"]) == pytest.approx(dict(other["metrics"]))


def test_floats_are_those_of_torch_whatever_the_strategy_sends():
    arrays = ArrayRecord({"w": Array(np.ones(2)), "count": Array(np.array(3))})

    def typed(parameters, minibatch, told):
        assert parameters["w"].dtype == torch.float32
        new, metrics = step(parameters, minibatch, told)
        return {**new, "count": parameters["count"] + 1}, metrics

    for grid in (cohort(training(step=typed)), inline(training(step=typed))):
        counts = [reply.content["arrays"]["count"].numpy() for reply in ask(grid, arrays)]
        assert counts == [5, 6, 4, 5]
        assert counts[0].dtype == np.int64


def test_other_messages_are_for_the_client_app():
    app = client_app(training())
    seen = []

    @app.evaluate()
    def evaluate(message, context):
        seen.append(message.metadata.message_type)
        return Message(RecordDict(), reply_to=message)

    grid = cohort(training(), app)
    assert not any(reply.has_error() for reply in ask(grid, kind="evaluate"))
    assert seen == ["evaluate"] * 4


def test_a_client_without_its_data_fails_alone():
    def some(client, told, generator):
        if client.partition_id == 1:
            raise FileNotFoundError("no data here")
        if client.partition_id == 2:
            return [], {"num-examples": 0}
        return minibatches(client, told, generator)

    for grid in (cohort(training(minibatches=some)), inline(training(minibatches=some))):
        replies = ask(grid)
        assert [reply.has_error() for reply in replies] == [False, True, True, False]
        assert "no data here" in replies[1].error.reason
        assert "minibatches gave none" in replies[2].error.reason


WRONG = {
    "must return .parameters, metrics.": lambda p, m, t: p["w"],
    "step took w, and gave none": lambda p, m, t: ({}, {}),
    r"step took w as float32 \[2\], and gave float32 \[1\]": lambda p, m, t: (
        {"w": p["w"][:1]},
        {},
    ),
    r"step took w as float32 \[2\], and gave float64": lambda p, m, t: ({"w": p["w"].double()}, {}),
    r"the metric loss as float32 \[2\]; it must be a single": lambda p, m, t: (p, {"loss": p["w"]}),
}


@pytest.mark.parametrize("line", WRONG)
def test_a_step_that_gives_something_else_is_told_in_one_line(line):
    local = training(step=WRONG[line])
    with pytest.raises(UserError, match=f"^my_app.task:local: .*{line}") as raised:
        ask(cohort(local))
    assert "\n" not in str(raised.value)
    reasons = {reply.error.reason for reply in ask(inline(local))}
    assert len(reasons) == 1 and str(raised.value).split(": ", 1)[1] in reasons.pop()


@pytest.mark.parametrize(
    ("replaced", "line"),
    [
        ({"minibatches": lambda c, t, g: iter([])}, r"must return \(minibatches, metrics\)"),
        ({"minibatches": lambda c, t, g: ([{"x": torch.ones(1)}], {})}, "tuple of tensors"),
        ({"optimizer_state": lambda r: {"w": r["w"]}}, "optimizer_state and the model both have w"),
        ({"optimizer_state": lambda r: r["w"]}, "optimizer_state must return a dict"),
    ],
)
def test_so_are_other_things_that_it_cannot_be(replaced, line):
    with pytest.raises(UserError, match=f"my_app.task:local: .*{line}"):
        ask(cohort(training(**replaced)))
    assert all(reply.has_error() for reply in ask(inline(training(**replaced))))


def test_a_step_that_cannot_be_batched_is_told_in_one_line():
    def branches(parameters, minibatch, told):
        if parameters["w"].sum() > 0:
            return parameters, {}
        return step(parameters, minibatch, told)

    def noisy(parameters, minibatch, told):
        return {"w": parameters["w"] + torch.randn(2)}, {}

    for wrong in (branches, noisy):
        with pytest.raises(UserError, match=r"step failed under torch.func.vmap.*: RuntimeError"):
            ask(cohort(training(step=wrong)))


def test_minibatches_that_draw_from_elsewhere_are_refused():
    def elsewhere(client, told, generator):
        return minibatches(client, told, None)

    with pytest.raises(UserError, match="draws random numbers that are not from the generator"):
        ask(cohort(training(minibatches=elsewhere)))
