"""FedGen as a strategy of jobs: its identities, its edges, what it refuses."""

import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from safetensors.numpy import load as load_arrays

from covey.federation.fedgen import FedGen, Guidance
from covey.federation.flower_internals import become_server, reply_to
from covey.federation.latent_generator import Shape
from covey.federation.lesson import Lesson
from covey.platform.errors import UserError

ATTEMPT = (
    "import sys; from pathlib import Path; from covey.platform.driver import run_attempt;"
    "sys.exit(run_attempt(Path(sys.argv[1])).exit_status)"
)
DATA = {"name": "digits", "partition": {"kind": "dirichlet", "alpha": 0.1}}
LOCAL = {"steps": 5, "batch_size": 16, "learning_rate": 0.05}
SECTION = {"cohort": 4, "data": DATA, "local": LOCAL}


def fedgen(**options):
    return {**SECTION, "strategy": {"name": "fedgen", "hidden": 32, **options}}


def test_the_generator_comes_to_make_what_the_ensemble_knows(train):
    strategy = fedgen(generator_learning_rate=3e-3)
    run = train("mlp", clients=6, rounds=6, federated=strategy)
    assert "generator_accuracy" not in run.metrics[0]
    assert run.metrics[-1]["generator_accuracy"] > 0.9
    assert 0 <= run.metrics[-1]["accuracy"] <= run.metrics[-1]["accuracy_seen_labels"] + 0.2


def test_without_both_of_its_losses_it_is_fedavg(train):
    average = train("mlp", clients=6, rounds=4, federated=SECTION)
    section = fedgen(latent_weight=0, distillation_weight=0)
    assert train("mlp", clients=6, rounds=4, federated=section).model == average.model


PRIVATE = {"clipping": "fixed"}
AROUND = [
    ({"average": {"name": "fedprox", "mu": 0.5}}, {}),
    ({"average": {"name": "fedadam"}}, {}),
    ({"average": {"name": "scaffold"}}, {}),
    ({"average": {"name": "krum"}}, {}),
    ({"average": {"name": "trimmed-mean", "beta": 0.25}}, {}),
    (
        {"average": {"name": "fedbuff", "concurrency": 5}},
        {"faults": {"stragglers": {"fraction": 0.5, "delay_s": 2.0}}},
    ),
    ({"label_counts": "withheld"}, {"differential_privacy": PRIVATE}),
]


@pytest.mark.parametrize(("options", "more"), AROUND, ids=str)
def test_around_another_strategy(train, options, more):
    """Without its losses it is that strategy; with them it is not, alone and together alike."""
    section = {**SECTION, **more}
    plain = train(
        "mlp",
        clients=6,
        rounds=4,
        federated={**section, "strategy": options.get("average", {"name": "fedavg"})},
    )
    silent = fedgen(latent_weight=0, distillation_weight=0, **options)
    guided = {**fedgen(**options), **more}
    assert train("mlp", clients=6, rounds=4, federated={**silent, **more}).model == plain.model
    alone = train("mlp", clients=6, rounds=4, federated=guided)
    assert alone.model != plain.model
    assert alone.metrics[-1]["generator_accuracy"] > 0
    together = train("mlp", clients=6, rounds=4, federated={**guided, "engine": "cohort"})
    ours, theirs = load_arrays(together.model), load_arrays(alone.model)
    for name, array in theirs.items():
        assert abs(ours[name] - array).max() < 1e-4


def test_with_one_of_them_it_is_not(train):
    average = train("mlp", clients=6, rounds=3, federated=SECTION).model
    found = {average}
    for one, other in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
        section = fedgen(latent_weight=one, distillation_weight=other)
        found.add(train("mlp", clients=6, rounds=3, federated=section).model)
    assert len(found) == 4


@pytest.mark.parametrize("preset", ["default", "paper", "released-code"])
@pytest.mark.parametrize("label_counts", ["exact", "noisy", "withheld"])
def test_a_cohort_trained_together_is_the_one_trained_in_turn(train, preset, label_counts):
    section = fedgen(preset=preset, label_counts=label_counts, guided_steps=3)
    alone = train("mlp", clients=6, rounds=5, federated=section)
    together = train("mlp", clients=6, rounds=5, federated={**section, "engine": "cohort"})
    ours, theirs = load_arrays(together.model), load_arrays(alone.model)
    for name, array in theirs.items():
        assert abs(ours[name] - array).max() < 1e-4
    counted = 80 if label_counts != "withheld" else 0
    assert together.metrics[-1]["bytes_up"] == alone.metrics[-1]["bytes_up"]
    plain = train("mlp", clients=6, rounds=5, federated=SECTION).metrics[-1]
    extra = counted + (len("label-counts") if counted else 0)
    assert alone.metrics[-1]["bytes_up"] - plain["bytes_up"] == 4 * extra


def test_label_counts_change_what_is_learnt(train):
    found = {
        train("mlp", clients=6, rounds=3, federated=fedgen(label_counts=kind)).model
        for kind in ("exact", "noisy", "withheld")
    }
    assert len(found) == 3


def test_clients_with_one_label_or_less_than_a_batch(train, write_arrays):
    """Three clients of the four have a single label each, one of them three samples."""
    rng = np.random.default_rng(2)
    labels = np.array([0] * 40 + [1] * 3 + [2] * 30 + [0, 1, 2] * 10)
    owners = np.array([0] * 40 + [1] * 3 + [2] * 30 + [3] * 30)
    test_labels = np.array([0, 1, 2] * 5)

    def images(of):
        return (60 * of[:, None, None, None] + rng.integers(0, 30, (len(of), 8, 8, 2))).astype("u1")

    folder = write_arrays(
        train_x=images(labels),
        train_y=labels,
        train_client=owners,
        test_x=images(test_labels),
        test_y=test_labels,
    )
    data = {"path": str(folder), "partition": {"kind": "natural"}}
    section = {**fedgen(generator_learning_rate=3e-3), "data": data, "cohort": 3}
    run = train("mlp", clients=4, rounds=8, federated=section)
    assert run.metrics[-1]["generator_accuracy"] > 0.9
    for line in run.metrics:
        assert np.isfinite(line["accuracy_seen_labels"])


def answered(counts, classes=4, latent=6):
    """A client's reply to a message."""
    rng = np.random.default_rng(len(counts))
    model = {
        "output.weight": Array(rng.standard_normal((classes, latent)).astype("f4")),
        "output.bias": Array(np.zeros(classes, "f4")),
    }
    metrics = MetricRecord({"num-examples": 5, "label-counts": counts})
    become_server()
    message = Message(RecordDict(), 2, "train")
    return reply_to(message, RecordDict({"arrays": ArrayRecord(model), "metrics": metrics}))


@pytest.mark.parametrize("even", [True, False])
def test_a_label_that_nobody_has_is_never_drawn(even):
    lesson = Lesson(20, 16, 1e-3, 1.0, 0.0, 1.0, "losses", "uniform")
    shape = partial(Shape, noise=4, hidden=8, rectified=True)
    strategy = FedGen(FedAvg(), Guidance(1.0, 1.0, 1.0, 20, 8, 0.0), lesson, shape, even=even)
    replies = [answered([6.0, 0.0, 0.0, 3.0]), answered([3.0, 0.0, 0.0, 0.0])]
    arrays, metrics = strategy.aggregate_train(1, replies)
    assert arrays is not None and "label-counts" not in metrics
    expected = [0.5, 0, 0, 0.5] if even else [0.75, 0, 0, 0.25]
    assert strategy.labels == pytest.approx(expected)


def test_noise_may_leave_no_label_at_all():
    lesson = Lesson(20, 16, 1e-3, 1.0, 0.0, 1.0, "losses", "uniform")
    shape = partial(Shape, noise=4, hidden=8, rectified=True)
    strategy = FedGen(FedAvg(), Guidance(1.0, 1.0, 1.0, 20, 8, 5.0), lesson, shape)
    strategy.aggregate_train(1, [answered([-1.0, -2.0, -0.5, -3.0])])
    assert not strategy.generator and not strategy.figures


def test_clients_that_are_lost_between_training_and_upload_teach_nothing(train):
    faults = {"dropout": 0.4}
    run = train(
        "mlp",
        clients=6,
        rounds=8,
        federated={**fedgen(), "faults": faults, "round": {"attempts": 20}},
    )
    assert any(line.get("clients_dropped") for line in run.metrics)
    assert run.metrics[-1]["generator_accuracy"] > 0


@pytest.mark.slow
@pytest.mark.ray
def test_actors_give_the_very_bytes_of_inline(train, create):
    inline = train("mlp", clients=6, rounds=3, federated=fedgen())
    path = create("mlp", clients=6, rounds=3, federated={**fedgen(), "engine": "actors"})
    subprocess.run([sys.executable, "-c", ATTEMPT, str(path)], check=True)
    assert (path / "checkpoints" / "latest" / "model.safetensors").read_bytes() == inline.model


def test_packed_replies_are_whole_before_the_generator_sees_them(train):
    section = {**fedgen(), "compression": {"kind": "top-k", "fraction": 1.0}}
    packed = train("mlp", clients=6, rounds=3, federated=section)
    assert packed.model == train("mlp", clients=6, rounds=3, federated=fedgen()).model


@pytest.mark.parametrize(
    ("app", "section", "told"),
    [
        ("logistic", fedgen(), "federated.app: found logistic, which has no hidden layer"),
        ("mlp", fedgen(generator_batch=1), "federated.strategy.generator_batch: found 1"),
        ("mlp", fedgen(preset="best"), "preset"),
        ("mlp", fedgen(latent_weight=-1), "latent_weight"),
        ("mlp", fedgen(shared="all"), "shared"),
        (
            "mlp",
            {**fedgen(), "differential_privacy": PRIVATE},
            "federated.strategy.label_counts: is not covered by the noise of differential_privacy",
        ),
        (
            "mlp",
            {
                **fedgen(average={"name": "krum"}, label_counts="withheld"),
                "differential_privacy": PRIVATE,
            },
            "federated.differential_privacy: cannot stand around krum",
        ),
        (
            "mlp",
            fedgen(average={"name": "krum", "malicious": 3}),
            "federated.strategy.average.malicious: found 3",
        ),
        ("mlp", fedgen(average={"name": "fedgen"}), "average"),
        (
            "mlp",
            {**fedgen(average={"name": "scaffold"}), "compression": {"kind": "top-k"}},
            "federated.compression: cannot stand beside scaffold",
        ),
    ],
)
def test_what_cannot_be_is_refused(create, app, section, told):
    with pytest.raises(UserError) as error:
        create(app, federated=section)
    assert told in str(error.value)


def test_the_state_of_the_generator_is_in_the_checkpoint(train):
    run = train("mlp", clients=6, rounds=2, federated=fedgen())
    folder = run.path / "checkpoints" / "latest"
    names = [
        name for file in folder.glob("*.safetensors") for name in load_arrays(file.read_bytes())
    ]
    assert any("generator" in name for name in names), names
    assert any("adam" in name for name in names), names
    assert not run.said("not-in-checkpoint"), run.said("not-in-checkpoint")
    assert json.loads((run.path / "result.json").read_text())["state"] == "succeeded"
