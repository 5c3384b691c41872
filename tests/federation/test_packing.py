import numpy as np
import pytest
from flwr.app import Array, ArrayRecord

from covey.federation.packing import Quantised, TopK, pack_bits, packing_from, unpack_bits
from covey.federation.weights import Weights


def weights(*numbers):
    a, b = np.float32(numbers[:2]), np.float32(numbers[2:]).reshape(-1, 1)
    return Weights.of(ArrayRecord({"a": Array(a), "b": Array(b)}), ["a", "b"])


OLD, NEW = weights(1, 2, 3, 4), weights(1.5, 2, -3, 4.25)
NOTHING = np.zeros(4, np.float32)


def arrays(packed):
    return {name: Array(array) for name, array in packed.items()}


def test_weights_come_back_in_their_shapes_and_order():
    arrays = OLD.arrays(NEW.flat)
    assert list(arrays) == ["a", "b"]
    assert arrays["b"].numpy().tolist() == [[-3.0], [4.25]]
    assert arrays["a"].numpy().dtype == np.float32


def test_top_k_sends_the_largest_changes_exactly_and_keeps_the_rest():
    packed, left_out = TopK(0.5).pack(NEW, OLD.flat, NOTHING)
    assert [array.tolist() for array in packed.values()] == [[0, 2], [1.5, -3.0]]
    assert left_out.tolist() == [0, 0, 0, 0.25]
    assert TopK().unpack(arrays(packed), OLD).tolist() == [1.5, 2, -3, 4]
    packed, left_out = TopK(0.1).pack(OLD, OLD.flat, left_out)
    assert [array.tolist() for array in packed.values()] == [[3], [4.25]]
    assert not left_out.any()


@pytest.mark.parametrize("bits", range(1, 17))
def test_bits_are_packed_without_gaps_and_come_back(bits):
    for count in (1, 7, 70_001):
        numbers = np.random.default_rng(bits).integers(0, 2**bits, count).astype(np.uint16)
        written = pack_bits(numbers, bits)
        assert len(written) == -(-count * bits // 8)
        assert np.array_equal(unpack_bits(written, bits, count), numbers)


@pytest.mark.parametrize("bits", [1, 3, 8, 16])
def test_quantised_is_off_by_half_a_step_at_most_and_keeps_what_it_is_off(bits):
    packed, left_out = Quantised(bits).pack(NEW, OLD.flat, NOTHING)
    flat = Quantised(bits).unpack(arrays(packed), OLD)
    assert (flat + left_out).tolist() == pytest.approx(NEW.flat.tolist(), abs=1e-6)
    assert np.abs(flat[2:] - NEW.flat[2:]).max() <= 6.25 / (2**bits - 1) / 2 + 1e-6


def test_a_client_gone_astray_stays_so_and_an_idle_one_sends_nothing_wrong():
    for bad in (np.nan, np.inf):
        packed, _ = Quantised(8).pack(weights(bad, 2, 3, 4), OLD.flat, NOTHING)
        assert not np.isfinite(Quantised(8).unpack(arrays(packed), OLD)[:2]).any()
    packed, left_out = Quantised(8).pack(OLD, OLD.flat, NOTHING)
    assert np.array_equal(Quantised(8).unpack(arrays(packed), OLD), OLD.flat)
    assert not left_out.any()


def u32(*numbers):
    return np.array(numbers, np.uint32)


@pytest.mark.parametrize(
    ("indices", "values", "words"),
    [
        (u32(0, 4), np.float32([1, 2]), "rising order from 0 to 3"),
        (u32(2, 1), np.float32([1, 2]), "rising order"),
        (u32(1, 1), np.float32([1, 2]), "rising order"),
        (u32(0), np.float32([1, 2]), "1 indices and 2 values for 4 weights"),
        (u32(*range(5)), np.zeros(5, np.float32), "5 indices and 5 values for 4"),
        (u32(), np.float32([]), "0 indices"),
        (np.array([-1]), np.float32([1]), "indices of int64"),
        (u32(1), np.array([1.0]), "values of float64"),
        (u32(1).reshape(1, 1), np.float32([1]), "of shape"),
    ],
)
def test_top_k_refuses_what_it_cannot_have_made(indices, values, words):
    with pytest.raises(ValueError, match=words):
        TopK().unpack(arrays(dict(zip(TopK.names, (indices, values), strict=True))), OLD)


@pytest.mark.parametrize(
    ("written", "ranges", "words"),
    [
        (np.zeros(5, np.uint8), np.zeros((2, 2), np.float32), r"arrays of \[5\]"),
        (np.zeros(4, np.uint8), np.zeros((3, 2), np.float32), r"and \[2, 2\] are expected"),
        (np.zeros(4, np.int8), np.zeros((2, 2), np.float32), "bits in int8"),
        (np.zeros(4, np.uint8), np.zeros((2, 2)), "ranges of float64"),
    ],
)
def test_quantised_refuses_what_it_cannot_have_made(written, ranges, words):
    packed = arrays(dict(zip(Quantised.names, (written, ranges), strict=True)))
    with pytest.raises(ValueError, match=words):
        Quantised(8).unpack(packed, OLD)


def test_a_header_that_claims_more_than_there_is_is_refused():
    honest = Array(np.zeros(1, np.uint32))
    data = honest.data.replace(b"(1,), }" + b" " * 9, b"(2500000000,), }")
    liar = Array("uint32", (2_500_000_000,), "numpy.ndarray", data)
    with pytest.raises(ValueError, match="10,000,000,000 bytes"):
        TopK().unpack({TopK.names[0]: liar, TopK.names[1]: Array(np.float32([1]))}, OLD)


@pytest.mark.parametrize("config", [{}, {"kind": "zip"}, {"kind": "quantised", "bits": 99}])
def test_a_packing_that_nobody_has_is_refused(config):
    with pytest.raises(ValueError):
        packing_from(config)
