"""App folders: a stock Flower app whose ClientApp trains each peer."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_apps import FAILS_AT_ONE, small_app

from covey.platform.driver import run_attempt
from covey.platform.errors import JobFileError

APPS = Path(__file__).parents[1] / "apps"
MODEL = "model.safetensors"


def app(name: str, **more):
    return {"app": str(APPS / name), "data": None, "local": None, "peers": 4, **more}


@pytest.mark.parametrize("name", ["quickstart", "pure"])
def test_a_stock_app_learns_without_a_server(train, name):
    """By its ServerApp's own evaluation (quickstart), and by its clients' (pure)."""
    run = train(rounds=6, **app(name))
    assert run.metrics[0]["accuracy"] < 0.3
    assert run.metrics[-1]["accuracy"] > 0.6
    assert run.metrics[-1]["disagreement"] < run.metrics[-1]["disagreement_local"]
    assert run.metrics[-1]["messages_per_peer"] == 2
    assert np.isfinite(run.column("train_loss")).all()


def test_neighbours_count_for_the_samples_that_they_tell_of(train):
    run = train(rounds=2, **app("pure"))
    table = json.loads((run.path / "peers.json").read_text())
    assert table["samples"] == [60, 85, 110, 135]


def test_counts_of_batches_stay_with_each_peer(train):
    """Clients of unequal size; what is no floating-point number is not averaged."""
    from covey.platform.runs.folder import RunFolder

    checkpoint = RunFolder.open(train(rounds=2, **app("quickstart")).path).newest_checkpoint()
    assert checkpoint.arrays(MODEL)["features.1.running_mean"].shape == (4, 8)
    counts = checkpoint.arrays("own.safetensors")["features.1.num_batches_tracked"]
    assert counts.dtype == np.int64 and (counts > 0).all()


@pytest.mark.parametrize("name", ["quickstart", "memory"])
def test_an_app_folder_resumes_with_the_same_bytes(train, create, finish, name):
    """With what clients keep in their contexts."""
    whole = train(rounds=4, **app(name))
    path = create(rounds=2, **app(name))
    finish(path)
    text = (path / "job.yaml").read_text()
    (path / "job.yaml").write_text(text.replace("rounds: 2", "rounds: 4"))
    again = finish(path)
    for part in (MODEL, "clients.bin"):
        assert again.part(part) == whole.part(part)


def test_an_app_whose_model_has_changed_does_not_resume(create, finish, tmp_path):
    folder = Path(small_app(tmp_path, FAILS_AT_ONE.replace("SIZE", "3")))
    path = create(rounds=1, **{**app("pure"), "app": str(folder)})
    finish(path)
    text = (path / "job.yaml").read_text()
    (path / "job.yaml").write_text(text.replace("rounds: 1", "rounds: 2"))
    code = folder / "small_app" / "apps.py"
    code.write_text(code.read_text().replace("zeros(3", "zeros(40"))
    outcome = run_attempt(path)
    assert outcome.error is not None and "is of another model than the app's" in outcome.error


def test_a_run_config_reaches_the_app(train):
    one, other = (train(rounds=1, **app("pure", run_config=config)) for config in
                  ({}, {"local-epochs": 1}))  # fmt: skip
    assert one.part(MODEL) != other.part(MODEL)


def test_a_peer_that_fails_keeps_what_it_had(train, tmp_path):
    """And those whose app measures nothing have a disagreement all the same."""
    source = FAILS_AT_ONE.replace("SIZE", "3")
    folder = small_app(tmp_path, source)
    run = train(rounds=1, **{**app("pure", topology={"kind": "complete"}), "app": folder})
    assert "peer 1: " in run.said("peer-failed") and "no disk" in run.said("peer-failed")
    assert "accuracy" not in run.metrics[-1] and run.metrics[-1]["disagreement_local"] > 0
    from covey.platform.runs.folder import RunFolder

    weights = RunFolder.open(run.path).newest_checkpoint().arrays(MODEL)["w"]
    # Peer 1 has told no size: 1, the others 5.
    np.testing.assert_allclose(weights, (0 * 5 + 0 * 1 + 2 * 5 + 3 * 5) / 16, rtol=1e-6)


def test_who_tells_of_impossible_samples_is_not_believed(train, tmp_path):
    source = FAILS_AT_ONE.replace("SIZE", "3").replace(
        '"num-examples": 5', '"num-examples": -number'
    )
    run = train(rounds=1, **{**app("pure"), "app": small_app(tmp_path, source)})
    said = run.said("peer-failed")
    assert "peer 2: its reply tells of -2.0 samples" in said and "peer 0" not in said


def test_an_app_whose_replies_have_another_shape_is_a_users_mistake(create, tmp_path):
    folder = small_app(tmp_path, FAILS_AT_ONE.replace("SIZE", "4"))
    outcome = run_attempt(create(rounds=1, **{**app("pure"), "app": folder}))
    assert outcome.error is not None and "failed at every peer" in outcome.error


def test_an_app_with_a_loop_of_its_own_has_no_weights_to_begin_with(create):
    outcome = run_attempt(create(rounds=1, **app("ownloop")))
    assert outcome.error is not None and "never called Strategy.start" in outcome.error


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"affinity": 0.5}, "peer-to-peer.affinity: is for built-in apps"),
        ({"data": {"name": "digits"}}, "peer-to-peer.data: is for built-in apps"),
        ({"precision": "float64"}, "peer-to-peer.precision: is for built-in apps"),
        ({"start": "max-norm"}, "peer-to-peer.start: is common with an app folder"),
        ({"run_config": {"no": 1}}, "peer-to-peer.run_config.no: unknown key"),
        ({"hidden": 3}, "peer-to-peer.hidden: is for app mlp"),
    ],
)
def test_what_an_app_folder_cannot_have(parse, keys, said):
    with pytest.raises(JobFileError) as caught:
        parse(**app("pure", **keys))
    assert said in str(caught.value)


def test_a_built_in_app_needs_data(parse):
    with pytest.raises(JobFileError, match=r"peer-to-peer\.data: is missing"):
        parse(data=None)
