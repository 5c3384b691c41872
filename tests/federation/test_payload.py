import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from covey.federation.flower_internals import records_to_bytes
from covey.federation.payload import payload_bytes
from covey.federation.records import copy_records


def test_the_definition():
    arrays = ArrayRecord({"w": Array(np.zeros((10, 7), np.float32))})
    config = ConfigRecord({"lr": 0.5, "tag": "four", "raw": b"12345", "list": [1, 2, 3]})
    records = RecordDict({"a": arrays, "config": config, "m": MetricRecord({"loss": 1.0})})
    values = (2 + 8) + (3 + 4) + (3 + 5) + (4 + 24)
    assert payload_bytes(records) == 1 + (1 + 128 + 280) + 6 + values + 1 + (4 + 8)


def test_our_arrays_count_like_flowers_without_being_written():
    array = Array(np.arange(12, dtype=np.float64).reshape(3, 4))
    records = RecordDict({"arrays": ArrayRecord({"w": array})})
    ours = copy_records(records)
    assert payload_bytes(ours) == payload_bytes(records)
    assert "_bytes" not in vars(ours["arrays"]["w"])


def test_it_is_what_flower_sends_but_for_a_few_tags():
    arrays = {f"layer{n}": Array(np.ones((40, n + 1), np.float32)) for n in range(8)}
    records = RecordDict(
        {"arrays": ArrayRecord(arrays), "m": MetricRecord({"num-examples": 3, "loss": 0.5})}
    )
    wire = len(records_to_bytes(records))
    assert payload_bytes(records) <= wire
    assert payload_bytes(records) == pytest.approx(wire, rel=0.1)
