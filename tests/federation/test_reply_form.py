"""Which replies of a round have another form than they should."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg, FedMedian, FedXgbBagging, Strategy

from covey.federation.compression import Restoring
from covey.federation.flower_internals import become_server
from covey.federation.reply_form import odd_ones
from covey.federation.scaffold import Scaffold
from covey.federation.wants import Wants, wants_of

ALIKE = Wants(alike=True)


def reply(arrays=(("w", 2), ("b", 1)), record="arrays", metrics=None, **more):
    """Arrays by (name, length); metrics None: those of an honest client."""
    held = {name: Array(np.zeros(length, np.float32)) for name, length in arrays}
    metrics = {"num-examples": 3, "loss": 1.0} if metrics is None else metrics
    return RecordDict({record: ArrayRecord(held), "metrics": MetricRecord(metrics), **more})


def odd(*replies, sent=None, wants=ALIKE):
    return odd_ones(sent or reply(), dict(enumerate(replies)), wants)


MORE = {"more": ArrayRecord({"w": Array(np.zeros(2))})}
OWN = ArrayRecord({"w": Array("float32", (2,), "mine", b"?"), "b": Array(np.zeros(1))})
ODD = {
    "has no array b of arrays": reply([("w", 2)]),
    "has array z of arrays, which was not expected": reply([("w", 2), ("b", 1), ("z", 1)]),
    "has no record arrays of arrays": reply(record="weights"),
    "has 2 records of arrays, 1 is needed": reply(**MORE),
    "array w of arrays is numbers [3], expected was numbers [2]": reply([("w", 3), ("b", 1)]),
    "array w of arrays is float32 as mine [2], expected was numbers [2]": reply(),
    "the order of arrays is b, w, expected was w, b": reply([("b", 1), ("w", 2)]),
    "has no metric loss of metrics": reply(metrics={"num-examples": 1}),
    "has no metric num-examples, by which clients are weighed": reply(metrics={"loss": 1.0}),
    "metric num-examples is a list of 1, not a number": reply(metrics={"num-examples": [1]}),
    "metric loss of metrics is a list of 1, expected was a number": reply(
        metrics={"num-examples": 1, "loss": [1.0]}
    ),
}
ODD["array w of arrays is float32 as mine [2], expected was numbers [2]"]["arrays"] = OWN


@pytest.mark.parametrize("reason", ODD)
def test_the_one_of_another_form_is_named(reason):
    assert odd(reply(), ODD[reason], reply()) == {1: reason}
    # Of two alone what was sent decides, and of two with the same arrays the one with less.
    expected = {0} if reason == "has no metric loss of metrics" else {1}
    assert odd(reply(), ODD[reason]).keys() == expected


def test_what_all_send_is_right_whatever_was_sent():
    update = reply([("delta", 4)], "update", {"num-examples": 1})
    assert odd(update, update, sent=reply()) == {}
    # A client that sends back what it got does not make the others odd.
    assert odd(update, reply(), update, sent=reply()).keys() == {1}


def test_the_precision_of_numbers_is_no_form():
    whole = RecordDict(dict(reply()))
    whole["arrays"] = ArrayRecord({"w": Array(np.zeros(2, int)), "b": Array(np.zeros(1))})
    assert odd(reply(), whole, reply()) == {}


def test_replies_that_all_differ_are_the_strategys_affair():
    assert odd(*(reply([("prototypes", size)]) for size in (3, 4, 5))) == {}


def test_metrics_of_an_evaluation():
    wants = Wants(alike=True, trains=False)
    honest, other = ({"m": MetricRecord(m)} for m in ({"num-examples": 1, "x": 1}, {"x": 1}))
    replies = [RecordDict(honest), RecordDict(other), RecordDict({})]
    assert odd(*replies, wants=wants) == {
        1: "has no metric num-examples, by which clients are weighed",
        2: "has 0 records of metrics, 1 is needed",
    }


class Own(Strategy):
    configure_train = aggregate_train = configure_evaluate = aggregate_evaluate = summary = None


def test_what_strategies_want():
    become_server()
    wants = wants_of(Restoring(FedMedian(weighted_by_key="n")), trains=True, built_in=True)
    assert wants == Wants("n", alike=True, averages=True, arrays="arrays")
    assert wants_of(Own(), trains=True, built_in=False) == Wants()
    assert not wants_of(FedXgbBagging(), trains=True, built_in=False).shapes
    assert wants_of(Scaffold(0.1), trains=True, built_in=False).positive == (
        ("num-examples", "steps")
    )
    own = FedAvg(evaluate_metrics_aggr_fn=lambda contents, key: MetricRecord())
    assert wants_of(own, trains=False, built_in=True) == Wants(trains=False, alike=True)
