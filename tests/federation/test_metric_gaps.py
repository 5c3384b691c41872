"""Metrics that are no numbers do not hide those of the other clients."""

import math

import pytest
from flwr.app import Message, MetricRecord, RecordDict

from covey.federation.flower_internals import become_server, reply_to
from covey.federation.metric_gaps import fill_gaps

NAN, INF = float("nan"), float("inf")


def filled(*losses, samples=(1, 2, 3)):
    """Each client's loss afterwards, and what is told."""
    become_server()
    replies = []
    for node, (loss, count) in enumerate(zip(losses, samples, strict=True)):
        metrics = MetricRecord({"num-examples": count, "loss": loss, "list": [NAN]})
        replies.append(
            reply_to(Message(RecordDict(), node + 2, "train"), RecordDict({"m": metrics}))
        )
    told = []
    tell = lambda kind, text, **fields: told.append((kind, text, fields))  # noqa: E731
    fill_gaps(tell, "round 1", replies, "num-examples")
    return [reply.content["m"]["loss"] for reply in replies], told


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_the_average_is_that_of_the_others(bad):
    losses, told = filled(1.0, bad, 5.0)
    assert losses == [1.0, (1 * 1.0 + 3 * 5.0) / 4, 5.0]
    text = f"round 1: node 3 tells loss {bad}, which is left out of the average"
    assert told == [("client-metric", text, {"nodes": [3]})]


def test_numbers_stay_and_without_any_there_is_no_average():
    assert filled(1.0, 2, 3.0) == ([1.0, 2, 3.0], [])
    losses, told = filled(NAN, NAN, INF)
    assert all(not math.isfinite(loss) for loss in losses) and told == []


def test_a_client_that_weighs_nothing_may_have_nothing_to_tell():
    assert filled(1.0, 3.0, NAN, samples=(1, 1, 0)) == ([1.0, 3.0, 2.0], [])
    assert filled(1.0, 3.0, NAN, samples=(0, 0, 1))[0] == [1.0, 3.0, 2.0]


APP = """
def told(msg, context, **more):
    loss = np.nan if context.node_config["partition-id"] == 1 else 2.0
    records = {"m": MetricRecord({"num-examples": 1, "loss": loss}), **more}
    return Message(RecordDict(records), reply_to=msg)

@client.train()
def train(msg, context):
    return told(msg, context, arrays=msg.content["arrays"])

@client.evaluate()
def evaluate(msg, context):
    return told(msg, context)

@server.main()
def main(grid, context):
    FedAvg().start(grid, start, num_rounds=2)
"""


def test_a_round_reports_the_loss_of_the_others_and_says_whose_is_missing(train, write_app):
    run = train(write_app(APP), clients=3, rounds=2)
    last = run.metrics[-1]
    assert (last["train_loss"], last["client_loss"], last["clients"]) == (2.0, 2.0, 3)
    assert [event["nodes"] for event in run.events if event["kind"] == "client-metric"] == [[3]] * 4
