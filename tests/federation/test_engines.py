"""All engines give the same global model."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from covey.federation.apps import local_sgd
from covey.federation.apps.batched import train_together
from covey.federation.engines import engine_of
from covey.platform.errors import UserError
from covey.platform.runs.folder import RunFolder

LOCALS = [
    {"epochs": 2, "batch_size": 16},
    {"steps": 7, "batch_size": 32},
    {"epochs": 1, "batch_size": 500},
]


def model(path: Path):
    return load_file(path / "checkpoints" / "latest" / "model.safetensors")


UNEQUAL = {"name": "digits", "partition": {"kind": "dirichlet", "alpha": 0.3}}


@pytest.mark.parametrize("local", LOCALS, ids=str)
@pytest.mark.parametrize("app", ["logistic", "mlp", "cnn"])
def test_a_cohort_trained_together_is_the_one_trained_in_turn(train, app, local):
    # A last bit may turn a rectifier or a maximum the other way: in deep networks steps are small.
    rate = 0.01 if app == "cnn" else 0.1
    section = {"cohort": 4, "local": {**local, "learning_rate": rate}, "data": UNEQUAL}
    alone = train(app, clients=6, rounds=10, federated=section)
    together = train(app, clients=6, rounds=10, federated={**section, "engine": "cohort"})
    same(together.path, alone.path, 1e-5)
    for ours, theirs in zip(together.metrics, alone.metrics, strict=True):
        assert ours.get("train_loss") == pytest.approx(theirs.get("train_loss"), rel=1e-4)


ADDED = [
    {"strategy": {"name": "fedprox", "mu": 0.5}},
    {"strategy": {"name": "scaffold"}},
    {"strategy": {"name": "qfedavg", "q": 1.0}},
    {"compression": {"kind": "quantised", "bits": 8}},
    {"compression": {"kind": "top-k", "fraction": 0.1}, "strategy": {"name": "fedprox"}},
]


@pytest.mark.parametrize("added", ADDED, ids=str)
def test_so_it_is_with_what_a_job_adds_to_the_training(train, added):
    local = {"epochs": 1, "batch_size": 16, "learning_rate": 0.1}
    section = {"cohort": 4, "local": local, "data": UNEQUAL, **added}
    rounds = 2 if "qfedavg" in str(added) else 10  # Flower's takes its time
    alone = train("logistic", clients=6, rounds=rounds, federated=section)
    together = train(
        "logistic", clients=6, rounds=rounds, federated={**section, "engine": "cohort"}
    )
    assert not together.said("engine")
    # What packing leaves out or rounds to may depend on a last bit: a few numbers then differ.
    same(together.path, alone.path, 1e-4, 0.95 if "compression" in added else 1.0)
    counted = {"bytes_up", "bytes_down", "clients"}
    for ours, theirs in zip(together.metrics, alone.metrics, strict=True):
        assert ours.keys() == theirs.keys()
        assert {k: ours.get(k) for k in counted} == {k: theirs.get(k) for k in counted}


def same(one: Path, other: Path, tolerance: float, share: float = 1.0) -> None:
    """Each array's numbers are, at least that share of them."""
    ours, theirs = model(one), model(other)
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        equal = np.abs(ours[name] - array) <= tolerance
        assert equal.mean() >= share, f"{name}: {np.abs(ours[name] - array).max()}"


def test_a_cohort_of_one_trains_as_it_would_alone(train):
    section = {"cohort": 1, "local": {"steps": 5}}
    alone = train("mlp", clients=2, rounds=1, federated=section)
    same(
        train("mlp", clients=2, rounds=1, federated={**section, "engine": "cohort"}).path,
        alone.path,
        1e-6,
    )


def test_a_cohort_gives_the_same_bytes_on_one_cpu_and_on_two(train, monkeypatch):
    section = {"engine": "cohort", "local": {"steps": 5, "batch_size": 500}}
    threads = []

    def counted(*arguments):
        threads.append(torch.get_num_threads())
        return train_together(*arguments)

    monkeypatch.setattr(local_sgd, "train_together", counted)
    one, two = (train("mlp", resources={"cpus": cpus}, federated=section) for cpus in (1, 2))
    assert threads == [1, 1, 1, 2, 2, 2]
    assert one.model == two.model


def test_what_cannot_be_batched_runs_in_actors(create):
    section = RunFolder.open(create("memory", federated={"engine": "cohort"})).job().section
    assert engine_of(section) == "actors"


def test_the_number_of_actors_is_for_the_engine_that_has_some(create):
    with pytest.raises(UserError, match=r"federated.actors: is for engine actors"):
        create("mlp", federated={"engine": "inline", "actors": 2})


@pytest.mark.ray
@pytest.mark.parametrize("app", ["mlp", "memory"])
def test_actors_give_the_very_bytes_of_inline(train, create, app):
    """A built-in app, and a stock app folder whose clients keep state."""
    inline = train(app, rounds=3)
    path = create(app, rounds=3, federated={"engine": "actors", "actors": 2})
    script = "import sys; from pathlib import Path; from covey.platform.driver import run_attempt;"
    script += "sys.exit(run_attempt(Path(sys.argv[1])).exit_status)"
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    same(path, inline.path, 0.0)
