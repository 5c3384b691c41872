"""States taken apart into JSON and arrays, and put together again."""

import json
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from covey.algorithms.rllib_tree import pack, unpack

NUMBERS = st.booleans() | st.integers() | st.floats(allow_nan=False)
KINDS = st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_])
ARRAYS = st_numpy.arrays(KINDS, st_numpy.array_shapes(min_dims=0, min_side=0, max_side=3))
LEAVES = st.none() | NUMBERS | st.text(max_size=3) | ARRAYS


def branches(inner):
    keys = st.text(max_size=2) | st.integers(0, 9)
    return (
        st.lists(inner, max_size=12)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=3)
        | LEAVES.map(lambda one: [one] * 9)
        | st.lists(NUMBERS, min_size=8, max_size=9).map(
            lambda row: [{"a": x, "b": (x, x)} for x in row]
        )
    )


def same(one, other):
    """Equal, of the same kinds all the way down."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return (
            type(one) is type(other)
            and len(one) == len(other)
            and all(same(a, b) for a, b in zip(one, other, strict=True))
        )
    return type(one) is type(other) and one == other


@given(st.recursive(LEAVES, branches, max_leaves=8))
def test_what_is_packed_comes_back(state):
    packed = pack(state)
    json.loads(packed.tree)
    assert same(state, unpack(packed.tree, packed.arrays))


def test_numpys_own_numbers_come_back_as_such():
    state = {"one": np.float32(0.1), "many": [np.float32(x) for x in range(9)], "no": np.nan}
    packed = pack(state)
    again = unpack(packed.tree, packed.arrays)
    assert type(again["one"]) is np.float32 and again["one"] == state["one"]
    assert again["many"] == state["many"] and type(again["many"][0]) is np.float32
    assert np.isnan(again["no"])
    mixed = [1.0] * 9 + [np.float64(0.5)]  # numpy's is a float like any other
    packed = pack(mixed)
    assert unpack(packed.tree, packed.arrays) == mixed and len(packed.arrays) == 1


def test_what_is_alike_is_kept_by_columns():
    rows = [np.arange(3 * n, dtype=np.float32).reshape(n, 3) for n in range(100)]
    episodes = [
        {"seen": row, "rewards": [0.5] * 9, "infos": [{}] * 9, "id": "x", "end": (1, 2)}
        for row in rows
    ]
    packed = pack({"episodes": episodes, "priorities": [0.1] * 100_000})
    assert len(packed.tree) < 15_000 and len(packed.arrays) < 110
    assert same(unpack(packed.tree, packed.arrays)["episodes"], episodes)


def test_other_dictionaries_become_plain_ones():
    packed = pack(OrderedDict(b=1, a=2))
    assert unpack(packed.tree, packed.arrays) == {"b": 1, "a": 2}


@pytest.mark.parametrize(
    ("state", "line"),
    [
        ({"a": [1, object()]}, "/a/1: a object cannot be kept in a checkpoint"),
        ({"a": np.array([None])}, "/a: an array of object cannot be kept"),
        ({(1, 2): 3}, r"the key \(1, 2\) cannot be kept"),
        ([{"s": {1}}] * 9, r"/\*/s/0: a set cannot be kept"),
    ],
)
def test_what_cannot_be_packed_is_said_with_its_place(state, line):
    with pytest.raises(TypeError, match=line):
        pack(state)
