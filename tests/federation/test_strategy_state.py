import json
import logging
import random

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.compat.common.record.configrecord import ConfigsRecord
from flwr.compat.common.record.metricrecord import MetricsRecord
from flwr.serverapp.strategy import (
    DifferentialPrivacyServerSideAdaptiveClipping,
    FedAdam,
    FedAvg,
    FedAvgM,
)

from covey.federation.numpy_array import NumpyArray
from covey.federation.records import array_record, records_of
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
        NumpyArray(np.float32([1, np.nan])),
        array_record({"n": NumpyArray(np.arange(3.0))}),
        records_of(metrics=MetricRecord({"a": 1}), arrays=ArrayRecord({"z": Array(np.ones(2))})),
    ],
)
def test_what_our_own_loop_hands_a_strategy_comes_back_as_flowers(value):
    strategy, other = FedAvg(), FedAvg()
    strategy.value = value
    assert through_disk(strategy, other) == []
    assert other.value == value


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


def test_two_names_for_one_object_stay_two_names_for_one():
    strategy, other = FedAvg(), FedAvg()
    strategy.rng = strategy.same_rng = np.random.default_rng(1)
    strategy.listed = [strategy.rng, strategy.rng.bit_generator]
    strategy.tensor = torch.zeros(2)
    strategy.state = {"tensor": strategy.tensor}
    strategy.state["itself"] = strategy.state
    assert through_disk(strategy, other) == []
    assert other.same_rng is other.rng is other.listed[0]
    assert other.listed[1] is other.rng.bit_generator
    assert other.state["tensor"] is other.tensor
    assert other.state["itself"] is other.state
    assert [strategy.rng.random(), strategy.same_rng.random()] == [
        other.rng.random(),
        other.same_rng.random(),
    ]


def test_what_a_wrapped_and_a_wrapping_strategy_share_is_found_whatever_the_app_has_left_out():
    def build():
        return DifferentialPrivacyServerSideAdaptiveClipping(
            FedAvg(), noise_multiplier=0.1, num_sampled_clients=20
        )

    strategy, other = build(), build()
    strategy.strategy.rng = strategy.rng = random.Random(3)
    del other.strategy
    assert through_disk(strategy, other) == []
    assert other.rng.random() == strategy.rng.random()


def test_an_object_first_met_in_what_cannot_be_saved_is_saved_with_the_next():
    strategy, other = FedAvg(), FedAvg()
    shared = np.arange(3)
    strategy.bad, strategy.good, strategy.again = [shared, object()], shared, shared
    saved = save_strategy(strategy)
    assert saved.left_out == ["bad (object)"] and set(saved.arrays) == {"good"}
    restore_strategy(other, saved.tree, saved.arrays)
    assert other.good is other.again and np.array_equal(other.good, shared)


@pytest.mark.parametrize("older", [ConfigsRecord, MetricsRecord])
def test_records_under_flowers_older_names_come_back(older):
    strategy, other = FedAvg(), FedAvg()
    strategy.record = older({"a": 1})
    assert through_disk(strategy, other) == []
    assert isinstance(other.record, older.__base__) and dict(other.record) == {"a": 1}


def test_tensors_that_are_trained_come_back_as_such():
    strategy, other = FedAvg(), FedAvg()
    strategy.weight = torch.nn.Parameter(torch.ones(2))
    strategy.frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    strategy.leaf = torch.ones(2, requires_grad=True)
    (strategy.leaf * torch.tensor([2.0, 3.0])).sum().backward()
    strategy.product = strategy.leaf * 2
    assert through_disk(strategy, other) == ["product (tensor that a gradient goes through)"]
    assert type(other.weight) is torch.nn.Parameter and other.weight.requires_grad
    assert type(other.frozen) is torch.nn.Parameter and not other.frozen.requires_grad
    assert type(other.leaf) is torch.Tensor and other.leaf.requires_grad
    assert other.leaf.grad.tolist() == [2.0, 3.0] and other.weight.grad is None


class OwnRecord(ConfigRecord):
    """A record of an app's own."""


@pytest.mark.parametrize(
    "value", [np.ma.masked_array([1, 2], [True, False]), OwnRecord({"a": 1}), torch.nn.Linear(1, 1)]
)
def test_what_would_come_back_as_less_than_it_was_is_named(value):
    strategy = FedAvg()
    strategy.value = value
    assert save_strategy(strategy).left_out == [f"value ({type(value).__name__})"]


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
