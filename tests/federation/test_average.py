"""Our average in the place of Flower's: the same numbers, bit for bit."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy import fedavg, strategy_utils

from covey.federation.average import aggregate_arrayrecords
from covey.federation.flower_internals import replace_average
from covey.federation.numpy_array import NumpyArray


@pytest.mark.parametrize("kind", ["f4", "f8", "i4", "f2"])
@pytest.mark.parametrize("shape", [(), (3,), (4, 5), (0, 2)])
def test_it_is_flowers_average(kind, shape):
    rng = np.random.default_rng(1)
    records = []
    for place in range(7):
        numbers = np.asarray(100 * rng.standard_normal(shape)).astype(kind)
        array = NumpyArray(numbers) if place % 2 else Array(numbers)
        metrics = MetricRecord({"n": int(rng.integers(1, 90)), "loss": 0.5})
        arrays = ArrayRecord({"w": array, "b": Array(np.asarray(numbers * 2))})
        records.append(RecordDict({"arrays": arrays, "metrics": metrics}))
    ours = aggregate_arrayrecords(records, "n")
    theirs = strategy_utils.aggregate_arrayrecords(records, "n")
    assert list(ours) == list(theirs)
    for name, array in theirs.items():
        assert ours[name] == array, name


def test_it_takes_the_place_of_flowers_until_that_is_undone():
    undo = replace_average(aggregate_arrayrecords)
    assert fedavg.aggregate_arrayrecords is aggregate_arrayrecords
    undo()
    assert fedavg.aggregate_arrayrecords is strategy_utils.aggregate_arrayrecords
