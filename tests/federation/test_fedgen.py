"""FedGen as a strategy of jobs: its identities, its edges, what it refuses."""

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load as load_arrays

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


def test_clients_with_one_label_or_less_than_a_batch_and_labels_that_nobody_has(
    train, write_arrays
):
    """Three clients of the four have a single label each, and none has the last one."""
    rng = np.random.default_rng(2)
    labels = np.array([0] * 40 + [1] * 3 + [2] * 30 + [0, 1, 2] * 10)
    images = (
        40 * labels[:, None, None, None] + rng.integers(0, 30, (len(labels), 8, 8, 2))
    ).astype(np.uint8)
    owners = np.array([0] * 40 + [1] * 3 + [2] * 30 + [3] * 30)
    test_labels = np.array([0, 1, 2, 3] * 5)
    test_images = (
        40 * test_labels[:, None, None, None] + rng.integers(0, 30, (20, 8, 8, 2))
    ).astype(np.uint8)
    folder = write_arrays(
        train_x=images,
        train_y=labels,
        train_client=owners,
        test_x=test_images,
        test_y=test_labels,
    )
    section = fedgen(generator_learning_rate=3e-3)
    section |= {"data": {"path": str(folder), "partition": {"kind": "natural"}}, "cohort": 3}
    run = train("mlp", clients=4, rounds=8, federated=section)
    assert run.metrics[-1]["generator_accuracy"] > 0.9
    assert run.metrics[-1]["accuracy_seen_labels"] > run.metrics[-1]["accuracy"]


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
            {**fedgen(), "differential_privacy": {"clipping": "fixed"}},
            "federated.differential_privacy: cannot stand around fedgen",
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
