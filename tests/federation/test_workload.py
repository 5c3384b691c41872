import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from covey.federation.data import load_raw
from covey.federation.workload import WORKLOAD
from covey.platform.driver import run_attempt
from covey.platform.errors import UserError
from covey.platform.runs.folder import RunFolder


def test_importing_the_workload_loads_nothing_heavy():
    code = (
        "import sys; import covey.federation.workload, covey.federation.data_command;"
        "heavy = {'torch', 'flwr', 'ray', 'sklearn', 'rich.table'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("app", ["logistic", "mlp", "cnn"])
def test_a_built_in_app_learns_digits(train, app):
    run = train(app, clients=5, rounds=8, federated={"local": {"epochs": 2, "batch_size": 16}})
    assert run.result["state"] == "succeeded"
    assert run.result["metrics"]["accuracy"] > 0.9
    assert [line["step"] for line in run.metrics] == list(range(9))
    last = run.metrics[-1]
    assert {"accuracy", "loss", "train_loss", "clients", "round_s"} <= set(last)
    assert last["clients"] == 5
    assert WORKLOAD.evaluate(run.path, 1)["accuracy"] == pytest.approx(last["accuracy"])


@pytest.mark.parametrize("engine", ["inline", "cohort"])
def test_an_mlp_is_as_wide_as_the_job_says(train, engine):
    section = {"engine": engine, "hidden": 16}
    run = train("mlp", clients=3, rounds=2, federated=section)
    arrays = RunFolder.open(run.path).newest_checkpoint().arrays("model.safetensors")
    assert arrays["hidden.weight"].shape == (16, 64)
    last = run.metrics[-1]
    assert WORKLOAD.evaluate(run.path, 1)["accuracy"] == pytest.approx(last["accuracy"])


def test_hidden_units_are_those_of_an_mlp(create):
    with pytest.raises(UserError, match=r"federated.hidden: is for app mlp, and app is cnn"):
        create("cnn", federated={"hidden": 16})


def test_a_trained_classifier_can_be_used_in_a_script(train):
    run = train("logistic", clients=3, rounds=6)
    classifier = WORKLOAD.load_policy(run.path)
    _, _, images, labels = load_raw("digits")
    classes = classifier.act(images)
    assert (classes == labels).mean() == pytest.approx(run.metrics[-1]["accuracy"])
    assert classifier.act(images[0]).shape == ()
    assert np.array_equal(classifier.act(images.reshape(-1, 64)), classes)
    with pytest.raises(ValueError, match=r"\(2, 63\) holds no images of digits, .* 8 by 8"):
        classifier.act(np.zeros((2, 63)))


def test_evaluating_every_n_rounds_still_ends_with_an_evaluation(train):
    run = train("logistic", clients=3, rounds=5, federated={"evaluate_every": 3})
    assert [line["step"] for line in run.metrics if "accuracy" in line] == [0, 3, 5]


def test_an_extra_evaluation_at_the_end_leaves_no_trace(train, create):
    longer = train("memory", rounds=5, federated={"evaluate_every": 2})
    path = create("memory", rounds=3, federated={"evaluate_every": 2})
    assert run_attempt(path).error is None
    folder = RunFolder.open(path)
    job = folder.job()
    stop = job.stop.model_copy(update={"rounds": 5})
    folder.replace_job(job.model_copy(update={"stop": stop}))
    assert run_attempt(path).error is None
    latest = Path("checkpoints", "latest")
    for part in (longer.path / latest).iterdir():
        if part.name not in ("manifest.json", "progress.json"):  # which hold times
            assert (path / latest / part.name).read_bytes() == part.read_bytes(), part.name


def test_accuracy_may_end_a_run_early(train):
    run = train("logistic", clients=3, stop={"rounds": 50, "accuracy": 0.5})
    assert run.result["step"] < 50
    assert run.metrics[-1]["accuracy"] >= 0.5
    assert "accuracy" in run.result["reason"]


def test_steps_instead_of_epochs(train):
    run = train(
        "logistic", clients=3, rounds=2, federated={"local": {"steps": 70, "batch_size": 8}}
    )
    assert run.metrics[-1]["accuracy"] > 0.3


def test_dirichlet_clients_beyond_the_cohort(train):
    data = {"name": "digits", "partition": {"kind": "dirichlet", "alpha": 0.1}}
    run = train("logistic", clients=40, rounds=3, federated={"data": data, "cohort": 7})
    assert {line["clients"] for line in run.metrics[1:]} == {7}


def test_data_that_is_not_there_is_an_error_with_the_command_to_run(create):
    path = create("mlp", federated={"data": {"name": "mnist"}})
    outcome = run_attempt(path)
    assert outcome.exit_status == 2
    assert "covey data get mnist" in outcome.error


def test_an_app_folder_cannot_be_evaluated_without_its_app(train):
    run = train("memory", rounds=1)
    with pytest.raises(UserError, match="only that app"):
        WORKLOAD.evaluate(run.path, 1)
    with pytest.raises(UserError, match="only that app"):
        WORKLOAD.load_policy(run.path)


def test_the_same_seed_gives_the_same_model_and_another_seed_another(train):
    first, second, other = (train("mlp", rounds=2, seed=seed).model for seed in (1, 1, 2))
    assert first == second != other


def test_flower_stays_off_the_console(train, capfd):
    run = train("logistic", rounds=1)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
    assert "configure_train" in (Path(run.path) / "flower.log").read_text()
    assert np.isfinite(run.metrics[-1]["loss"])
