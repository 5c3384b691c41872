import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict

from covey.federation.client_error import ClientError
from covey.federation.client_runner import Question
from covey.federation.flower_internals import become_server, reply_to
from covey.federation.refusal import why_refused
from covey.federation.superlink_grid import _answer, _Letter
from covey.federation.wants import Wants

ANY = Wants()
SENT = {"w": np.zeros((2, 3), np.float32), "count": np.zeros((), np.float64)}


def records(name="arrays", metrics=None, **arrays):
    record = ArrayRecord({key: Array(np.asarray(value)) for key, value in arrays.items()})
    metrics = {"num-examples": 3, "loss": float("nan")} if metrics is None else metrics
    return RecordDict({name: record, "metrics": MetricRecord(metrics)})


def reason(**arrays):
    return why_refused(records(**SENT), records(**{**SENT, **arrays}), ANY)


def test_an_honest_reply_is_not_refused():
    whole = np.zeros((), np.int64)  # torch's counters, which Flower's average makes float64
    assert reason(w=np.ones((2, 3), np.float32), count=whole) is None
    assert reason(w=np.full((2, 3), 1e38, np.float32)) is None  # the sum overflows, no number does
    assert reason(w=np.ones((2, 3), np.float16)) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(bad):
    w = np.zeros((2, 3), np.float32)
    w[1, 2] = bad
    assert reason(w=w) == "array w of arrays holds numbers that are not finite"
    both = np.array([[np.inf, -np.inf, 0], [0, 0, 0]], np.float32)
    assert reason(w=both) is not None


def test_other_shapes_and_dtypes_under_the_same_name_and_keys():
    assert "has shape [3, 2], sent was [2, 3]" in reason(w=np.zeros((3, 2), np.float32))
    assert "is complex128, sent was float32" in reason(w=np.zeros((2, 3), complex))
    assert "is <U1, sent was float32" in reason(w=np.full((2, 3), "x"))


def test_of_one_reply_other_keys_or_another_name_are_the_apps_own_business():
    assert reason(more=np.zeros(7)) is None
    answer = records("update", w=np.zeros(9), count=np.zeros(9))
    assert why_refused(records(**SENT), answer, ANY) is None
    ours = Wants(arrays="arrays")
    assert why_refused(records(**SENT), answer, ours) == "has no record arrays of arrays"
    answer = records(**SENT, more=np.zeros(7))
    assert "has array more of arrays" in why_refused(records(**SENT), answer, ours)
    assert why_refused(records(**SENT), records(**SENT), ours) is None


def test_trees_have_any_length():
    trees = {"0": np.zeros(9, np.uint8)}
    assert why_refused(records(**{"0": np.zeros(5, np.uint8)}), records(**trees), ANY)
    boosting = Wants(shapes=False)
    assert why_refused(records(**{"0": np.zeros(5, np.uint8)}), records(**trees), boosting) is None


@pytest.mark.parametrize("steps", [0, -1, float("nan"), float("inf"), [2], None])
def test_a_metric_that_must_be_positive(steps):
    metrics = {"num-examples": 3} | ({} if steps is None else {"steps": steps})
    text = why_refused(
        records(**SENT), records(metrics=metrics, **SENT), Wants(positive=("steps",))
    )
    assert text == f"metric steps is {steps}, a number above 0 is needed"


def claiming():
    """A reply with an array whose header claims 10 GB."""
    answer = records(**SENT)
    small = answer["arrays"]["w"].data
    claimed = small.replace(b"(2, 3), }" + b" " * 9, b"(50000, 50000), }" + b" ")
    assert len(claimed) == len(small) and claimed != small
    answer["arrays"]["w"] = Array("float32", (50000, 50000), "numpy.ndarray", claimed)
    return answer


def test_a_header_that_claims_what_its_bytes_do_not_have():
    text = why_refused(records(**SENT), claiming(), ANY)
    assert "10,000,000,000 bytes, 24 came" in text


def test_what_a_supernode_sends_is_refused_like_what_a_simulated_client_does():
    become_server()
    message = Message(RecordDict(), 2, "train")
    question = Question(0, message, 1, RecordDict())
    answer = _answer(_Letter(question), reply_to(message, claiming()))
    assert answer.content.code == ClientError.REFUSED
    assert "10,000,000,000 bytes, 24 came" in answer.content.reason


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1, 1e300])
def test_a_weight_that_would_spoil_the_average(bad):
    answer = records(metrics={"num-examples": bad}, **SENT)
    assert f"num-examples is {bad}" in why_refused(records(**SENT), answer, ANY)
    assert why_refused(records(**SENT), answer, Wants("another")) is None


def test_another_serialisation_is_not_looked_into():
    answer = records(**SENT)
    answer["arrays"]["w"] = Array("float32", (2, 3), "my.own", b"anything")
    assert why_refused(records(**SENT), answer, ANY) is None
