import numpy as np
import pytest
from flwr.app import Array, ArrayRecord

from covey.federation.arrays import load_arrays, save_arrays

ODD = {
    "big-endian": np.arange(3, dtype=">f4"),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "text": np.array(["a", "bc"]),
    "bytes": np.array([b"x", b"yz"]),
    "complex": np.array([1 + 2j]),
}
PLAIN = {
    "zero dimensions": np.array(4.5),
    "empty": np.zeros((0, 3), np.float32),
    "bool": np.array([True, False]),
    "half": np.float16([0.1, np.nan, np.inf]),
    "int": np.int64([-(2**63), 2**63 - 1]),
    "unsigned": np.uint8([0, 255]),
    "minus zero": np.float32([-0.0]),
    "": np.zeros(1),
    "a/b.c d": np.ones(2),
}


@pytest.mark.parametrize("arrays", [PLAIN, ODD, {**ODD, **PLAIN}, {}])
def test_every_array_comes_back_byte_for_byte_and_in_order(arrays):
    record = ArrayRecord({name: Array(array) for name, array in arrays.items()})
    model, order = save_arrays(record)
    back = load_arrays(model, order)
    assert list(back) == list(record)
    assert all(back[name] == record[name] for name in record)


def test_what_numbers_can_say_is_in_the_model():
    record = ArrayRecord({name: Array(array) for name, array in {**PLAIN, **ODD}.items()})
    model, _ = save_arrays(record)
    assert set(model) == {*PLAIN, "big-endian", "fortran"}


def test_foreign_serialisation_and_reserved_names_are_kept_beside():
    record = ArrayRecord(
        {"__metadata__": Array(np.ones(2)), "foreign": Array("f4", (1,), "other.kind", b"\x01\x02")}
    )
    model, order = save_arrays(record)
    assert model == {}
    assert load_arrays(model, order) == record
