import json
import logging
import random

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy import (
    DifferentialPrivacyServerSideAdaptiveClipping,
    FedAdam,
    FedAvg,
    FedAvgM,
)

from covey.federation.strategy_state import restore_strategy, save_strategy


def through_disk(strategy, other):
    saved = save_strategy(strategy)
    json.loads(saved.tree)
    restore_strategy(other, saved.tree, saved.arrays)
    return saved.left_out


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        2**100,
        0.1,
        float("inf"),
        "text",
        b"\x00\xff",
        [1, [2.5, None]],
        (1, "a"),
        {"a": 1, 2: {"b": (3,)}, (4, 5): []},
        {1, 2},
        frozenset({"x"}),
        ConfigRecord({"a": [1, 2], "b": b"x"}),
        MetricRecord({"a": 1.5}),
        RecordDict({"m": MetricRecord({"a": 1})}),
        ArrayRecord({"z": Array(np.zeros(2)), "a": Array(np.array(["text"]))}),
        Array(np.arange(3, dtype=">i2")),
    ],
)
def test_plain_values_and_records_come_back_equal(value):
    strategy, other = FedAvg(), FedAvg()
    strategy.value = value
    assert through_disk(strategy, other) == []
    assert other.value == value
    assert type(other.value) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6.0).reshape(2, 3).T,
        np.float32([-0.0, np.nan]),
        np.array(5),
        np.zeros((0, 2), bool),
    ],
)
def test_arrays_come_back_bit_for_bit(value):
    strategy, other = FedAvg(), FedAvg()
    strategy.value = {1: value, "1": value}
    assert through_disk(strategy, other) == []
    for back in other.value.values():
        assert (back.dtype, back.shape, back.strides) == (value.dtype, value.shape, value.strides)
        assert back.tobytes() == value.tobytes()


def test_numpy_scalars_and_tensors_keep_their_kind():
    strategy, other = FedAvg(), FedAvg()
    strategy.norm, strategy.tensor = np.float32(0.1), torch.arange(3) * 1.5
    assert through_disk(strategy, other) == []
    assert other.norm == strategy.norm and type(other.norm) is np.float32
    assert torch.equal(other.tensor, strategy.tensor)


def test_generators_go_on_where_they_were():
    strategy, other = FedAvg(), FedAvg()
    strategy.a, strategy.b = random.Random(1), np.random.default_rng(2)
    strategy.c = np.random.Generator(np.random.MT19937(3))
    strategy.d = torch.Generator().manual_seed(4)
    assert through_disk(strategy, other) == []
    assert strategy.a.random() == other.a.random()
    assert strategy.b.random() == other.b.random()
    assert strategy.c.normal() == other.c.normal()
    assert torch.rand(2, generator=strategy.d).equal(torch.rand(2, generator=other.d))


def test_what_cannot_be_saved_is_named_and_left_to_the_app():
    strategy, other = FedAvg(), FedAvg()
    strategy.file = open("/dev/null")
    strategy.objects = np.array([object()])
    strategy.nested = {"deep": [object()]}
    strategy.fine, strategy.code, strategy.log = 1, print, logging.getLogger("x")
    left_out = through_disk(strategy, other)
    strategy.file.close()
    assert [name.split(" ")[0] for name in left_out] == ["file", "objects", "nested"]
    assert other.fine == 1
    assert not hasattr(other, "file")


def test_a_wrapped_strategy_is_saved_with_its_wrapper():
    def build():
        return DifferentialPrivacyServerSideAdaptiveClipping(
            FedAvgM(server_momentum=0.9), noise_multiplier=0.1, num_sampled_clients=20
        )

    strategy, other = build(), build()
    strategy.clipping_norm = np.float64(0.7)
    strategy.strategy.momentum_vector = [np.ones(2), np.zeros((1, 1))]
    strategy.strategy.around = strategy  # some wrappers are known to what they wrap
    inner = other.strategy
    assert through_disk(strategy, other) == []
    assert other.strategy is inner
    assert other.clipping_norm == 0.7
    assert np.array_equal(inner.momentum_vector[0], np.ones(2))


def test_functions_of_the_app_are_not_touched():
    strategy, other = FedAdam(), FedAdam(train_metrics_aggr_fn=lambda records, key: MetricRecord())
    mine = other.train_metrics_aggr_fn
    through_disk(strategy, other)
    assert other.train_metrics_aggr_fn is mine
