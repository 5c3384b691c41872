import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import SIZE, vector

from covey.federation.p2p.wire_header import CHUNK, Form, Header, cut, joined, parse_header
from covey.federation.p2p.wire_refusal import Refused


def header(pieces, **changes):
    plain = {
        "run": "r",
        "sender": "peer-0",
        "session": 1,
        "round": 2,
        "step": 3,
        "kind": "vector",
        "dtype": pieces.dtype,
        "shape": pieces.shape,
        "digest": pieces.digest,
    }
    return Header(**{**plain, **changes})


def refusal(pieces, chunks, **changes):
    with pytest.raises(Refused) as refused:
        joined(header(pieces, **changes), chunks)
    return refused.value.reason


@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<f2", "|u1", "<i8"])
@pytest.mark.parametrize("shape", [(1,), (SIZE,), (3, 5, 7)])
def test_a_vector_arrives_as_it_was_sent(dtype, shape):
    sent = np.random.default_rng(0).normal(0, 50, shape).astype(dtype)
    pieces = cut(sent)
    read = parse_header(header(pieces).encoded())
    arrived = joined(read, pieces.chunks)
    assert arrived.dtype == sent.dtype
    np.testing.assert_array_equal(arrived, sent)
    assert pieces.size_bytes == read.size_bytes == sent.nbytes


def test_chunks_are_full_but_the_last():
    assert [len(chunk) for chunk in cut(vector(1)).chunks] == [CHUNK, 4_000]
    assert [len(chunk) for chunk in cut(np.zeros(2 * CHUNK, np.uint8)).chunks] == [CHUNK, CHUNK]


def test_a_slice_and_a_transposed_matrix_are_sent_by_value():
    matrix = np.arange(12.0).reshape(3, 4)
    for view in (matrix.T, matrix[:, 1], matrix[::2]):
        pieces = cut(view)
        np.testing.assert_array_equal(joined(header(pieces), pieces.chunks), view)


def test_bytes_that_are_not_those_announced_are_refused():
    pieces = cut(vector(1))
    first, last = pieces.chunks
    assert refusal(pieces, [first]) == "incomplete"
    assert refusal(pieces, []) == "incomplete"
    assert refusal(pieces, [first, last, b"more"]) == "size"
    assert refusal(pieces, [first, last, b""]) == "size"
    assert refusal(pieces, [last, first]) == "size"
    assert refusal(pieces, [first[:-4], last]) == "size"
    assert refusal(pieces, [first + last]) == "size"
    assert refusal(pieces, [first, bytes(len(last))]) == "digest"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, CHUNK // 4 - 1, CHUNK // 4, SIZE - 1])
def test_a_number_that_is_not_finite_is_refused_wherever_it_is(bad, place):
    spoilt = vector(1)
    spoilt[place] = bad
    assert refusal(cut(spoilt), cut(spoilt).chunks) == "not-finite"


def test_a_form_takes_its_own_vectors_only():
    form = Form("float32", (10,))
    form.check(header(cut(vector(1, 10))))
    for other, reason in (
        (np.zeros(10), "dtype"),
        (np.zeros(10, ">f4"), "dtype"),
        (np.zeros(11, "f4"), "shape"),
        (np.zeros((10, 1), "f4"), "shape"),
        (np.zeros((5, 2), "f4"), "shape"),
    ):
        with pytest.raises(Refused) as refused:
            form.check(header(cut(other)))
        assert refused.value.reason == reason


def test_a_compressed_message_may_be_shorter_than_its_bound():
    form = Form("uint8", (100,), exact=False)
    for length in (1, 100):
        form.check(header(cut(np.zeros(length, np.uint8))))
    for wrong in (np.zeros(101, np.uint8), np.zeros((10, 1), np.uint8)):
        with pytest.raises(Refused, match="is expected"):
            form.check(header(cut(wrong)))


@pytest.mark.parametrize(
    "changes",
    [
        {"round": -1},
        {"round": 2**62},
        {"round": 1.0},
        {"step": True},
        {"sender": "../etc"},
        {"shape": (0,)},
        {"shape": (-1,)},
        {"shape": (2**40,)},
        {"shape": (1,) * 9},
        {"digest": "0"},
        {"dtype": "float32 and more"},
        {"extra": 1},
    ],
)
def test_a_header_with_a_wrong_field_is_refused(changes):
    good = header(cut(vector(1, 4))).model_dump(mode="json")
    import json

    with pytest.raises(Refused) as refused:
        parse_header(json.dumps({**good, **changes}).encode())
    assert refused.value.reason == "header"
    assert next(iter(changes)) in str(refused.value)


@given(st.one_of(st.binary(max_size=200), st.integers(1, 10_000).map(lambda n: b"[" * n)))
def test_bytes_that_are_no_header_are_refused(data):
    with pytest.raises(Refused):
        parse_header(data)
