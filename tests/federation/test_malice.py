"""Simulated clients that mean harm: who they are, what they send, what it does."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from safetensors.numpy import load as load_arrays

from covey.federation.flower_internals import become_server, reply_to
from covey.federation.malice import Malice
from covey.federation.rounds_section import MaliciousSection
from covey.platform.errors import UserError

SECTION = {"cohort": 6, "local": {"steps": 10, "batch_size": 16, "learning_rate": 0.1}}
BAD = {"malicious": {"clients": 2, "scale": 5.0}}


def exchange(node=1):
    become_server()
    received = ArrayRecord(
        {"w": Array(np.array([1.0, 2.0], np.float32)), "n": Array(np.array([3]))}
    )
    trained = ArrayRecord({"w": Array(np.array([1.5, 1.0], np.float32)), "n": Array(np.array([4]))})
    message = Message(RecordDict({"arrays": received}), dst_node_id=node, message_type="train")
    metrics = MetricRecord({"num-examples": 7})
    return message, reply_to(message, RecordDict({"arrays": trained, "metrics": metrics}))


def sent(section, node=1, occasion=(1, 0), nodes=(1,)):
    malice = Malice(MaliciousSection(**section), 3, nodes)
    reply = malice.spoilt(*exchange(node), *occasion)
    assert reply.content.metric_records["metrics"]["num-examples"] == 7
    arrays = reply.content.array_records["arrays"]
    assert arrays["n"].numpy().tolist() == [4]
    return arrays["w"].numpy()


def test_a_flipped_sign_is_the_update_the_other_way():
    found = sent({"clients": 1, "scale": 2.0})
    assert found.tolist() == [0.0, 4.0]
    assert found.dtype == np.float32


def test_noise_has_its_scale_and_is_new_each_time():
    first = sent({"clients": 1, "attack": "noise", "scale": 0.5})
    assert sent({"clients": 1, "attack": "noise", "scale": 0.5}).tolist() == first.tolist()
    assert sent({"clients": 1, "attack": "noise"}, occasion=(2, 0)).tolist() != first.tolist()
    wide = sent({"clients": 1, "attack": "noise", "scale": 5.0})
    np.testing.assert_allclose(wide - [1, 2], 10 * (first - [1, 2]), rtol=1e-5)


def test_the_others_are_honest():
    (bad,) = Malice(MaliciousSection(clients=1), 3, range(1, 9)).nodes
    for node in range(1, 9):
        arrays = sent({"clients": 1}, node, nodes=range(1, 9))
        assert (arrays.tolist() == [1.5, 1.0]) == (node != bad)


def test_they_are_drawn_from_the_seed():
    drawn = {Malice(MaliciousSection(clients=2), seed, range(20)).nodes for seed in range(30)}
    assert len(drawn) > 20
    assert {len(nodes) for nodes in drawn} == {2}


def test_they_spoil_an_average_and_not_a_robust_one(train):
    def accuracy(strategy, **more):
        section = {**SECTION, "strategy": strategy, **more}
        run = train("mlp", clients=6, rounds=5, federated=section)
        assert bool(run.said("malicious")) == bool(more)
        return run.metrics[-1]["accuracy"]

    average, krum = {"name": "fedavg"}, {"name": "multi-krum", "malicious": 1}
    honest = accuracy(average)
    assert accuracy(average, faults=BAD) < honest - 0.2
    assert accuracy({"name": "median"}, faults=BAD) > honest - 0.1
    one = {"malicious": {"clients": 1, "scale": 5.0}}
    assert accuracy(krum, faults=one) > honest - 0.1


def test_every_engine_has_the_same_ones(train):
    section = {**SECTION, "cohort": 4, "faults": BAD}
    alone, together = (
        train("mlp", clients=6, rounds=2, federated={**section, "engine": engine})
        for engine in ("inline", "cohort")
    )
    ours, theirs = load_arrays(together.model), load_arrays(alone.model)
    assert max(np.abs(ours[name] - theirs[name]).max() for name in ours) < 1e-4


def test_somebody_must_be_honest(train):
    faults = {"malicious": {"clients": 6}}
    with pytest.raises(UserError, match="somebody must be honest among 6"):
        train("mlp", clients=6, federated={"faults": faults})
