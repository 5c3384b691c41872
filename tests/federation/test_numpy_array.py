"""Arrays that hold their numbers, and the check of those that somebody else has sent."""

import io
import pickle

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord

from covey.federation.npy import parse_npy
from covey.federation.numpy_array import NumpyArray, checked

NUMBERS = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.array(2.5),
    np.zeros((0, 4), dtype=np.int8),
    np.array([True, False]),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.array([1 + 2j]),
    np.arange(3, dtype=">i4"),
    np.array(["one", "three"]),
    np.arange(64).reshape((1,) * 20 + (64,)),
]


@pytest.mark.parametrize("numbers", NUMBERS, ids=lambda numbers: f"{numbers.dtype}{numbers.shape}")
def test_is_flowers_array_in_all_that_it_says(numbers):
    ours, flowers = NumpyArray(numbers), Array(numbers)
    assert (ours.dtype, ours.shape, ours.stype) == (flowers.dtype, flowers.shape, flowers.stype)
    assert ours.data == flowers.data and ours == flowers and flowers == ours
    assert (ours.deflate(), ours.object_id) == (flowers.deflate(), flowers.object_id)
    assert list(ours.children) == list(flowers.children)
    for again in (checked(flowers), checked(ours), pickle.loads(pickle.dumps(ours))):
        np.testing.assert_array_equal(again.numpy(), numbers, strict=True)
        assert again.numpy().flags.f_contiguous == numbers.flags.f_contiguous


def test_a_copy_may_be_changed_and_the_numbers_may_not():
    array = NumpyArray(np.zeros(3))
    array.numpy()[0] = 1
    assert array.numbers[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        array.numbers[0] = 1


def test_new_bytes_are_new_numbers():
    array = NumpyArray(np.zeros(3))
    array.data = Array(np.ones(3)).data
    np.testing.assert_array_equal(array.numpy(), np.ones(3))


def test_a_record_of_them_is_torchs_state():
    record = ArrayRecord({"w": NumpyArray(np.ones(2, dtype=np.float32))})
    assert record.to_torch_state_dict()["w"].equal(torch.ones(2))


def npy(header, body=b""):
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


def claiming(shape, kind="<f4"):
    return npy(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode())


@pytest.mark.parametrize("content", [claiming("(50000, 50000)"), claiming("(9" + "9" * 30 + ",)")])
def test_a_header_that_claims_more_than_came_takes_no_memory(content):
    with pytest.raises(ValueError, match="bytes, 0 came"):
        parse_npy(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        claiming("(-1, 4)"),
        claiming("(2,)", "|O"),
        npy(b"{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (), }\n", b"12345678"),
        npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", b"12345"),
        npy(b"__import__('os').system('true')\n"),
        b"\x93NUMPY\x03\x00" + claiming("(0,)")[8:],
        b"\x93NUMPY\x01\x00\x00\x00" + claiming("(0,)")[10:],
    ],
)
def test_what_is_no_array_of_numbers_is_refused(content):
    with pytest.raises(ValueError):
        parse_npy(content)
    with pytest.raises(ValueError):
        checked(Array("float32", (1,), "numpy.ndarray", content))


def test_so_is_one_that_is_not_what_it_says():
    content = Array(np.zeros(4)).data
    with pytest.raises(ValueError, match="says it is float64 \\[2, 2\\] holds float64 \\[4\\]"):
        checked(Array("float64", (2, 2), "numpy.ndarray", content))


def test_other_serialisations_are_left_as_they_are():
    array = Array("int8", (1,), "my own", b"\x01")
    assert checked(array) is array


def test_numpys_own_writer_is_understood():
    for version in ((1, 0), (2, 0)):
        file = io.BytesIO()
        np.lib.format.write_array(file, np.arange(3), version=version)
        assert parse_npy(file.getvalue()).tolist() == [0, 1, 2]
