"""Jobs where only the last layer is exchanged, and each client keeps the others to itself."""

import numpy as np
import pytest
from safetensors.numpy import load as load_arrays

from covey.platform.errors import UserError

LOCAL = {"steps": 5, "batch_size": 16, "learning_rate": 0.05}
DATA = {"name": "digits", "partition": {"kind": "dirichlet", "alpha": 0.1}}
SECTION = {"cohort": 4, "data": DATA, "local": LOCAL}


def head(**options):
    return {**SECTION, "strategy": {"name": "fedavg", "share": "head", **options}}


def test_only_the_last_layer_is_exchanged(train):
    run = train("mlp", clients=6, rounds=2, federated=head())
    assert set(load_arrays(run.model)) == {"output.weight", "output.bias"}
    whole = train("mlp", clients=6, rounds=2, federated=SECTION)
    # 1,290 of 9,610 numbers, and what comes with them.
    assert run.metrics[-1]["bytes_up"] < 0.2 * whole.metrics[-1]["bytes_up"]


@pytest.mark.parametrize("app", ["mlp", "cnn", "strided-cnn"])
def test_all_clients_begin_with_the_layers_of_the_servers_model(train, app):
    """Untrained, each has the model that all have where everything is shared."""
    still = {**LOCAL, "learning_rate": 1e-12}
    whole = train(app, clients=6, rounds=1, federated={**SECTION, "local": still})
    run = train(app, clients=6, rounds=1, federated={**head(), "local": still})
    if app == "strided-cnn":  # whose running means change without a rate
        whole.metrics[-1] = whole.metrics[0]
        run = train(app, clients=6, rounds=1, federated={**head(), "local": still, "cohort": 1})
        assert run.metrics[-1]["client_count"] == 6
    for name in ("accuracy", "loss"):
        own = "client_loss" if name == "loss" else name
        tolerance = 0.1 if app == "strided-cnn" else 1e-6
        assert run.metrics[-1][own] == pytest.approx(whole.metrics[-1][name], abs=tolerance)


def test_a_clients_own_layers_are_there_in_the_next_round(train):
    """Were they lost, the clients would train them from the beginning, again and again."""
    run = train("mlp", clients=4, rounds=12, federated=head())
    losses = [line["train_loss"] for line in run.metrics]
    assert losses[-1] < 0.4 * losses[0]


@pytest.mark.parametrize(
    "strategy",
    [
        {"name": "fedavg"},
        {"name": "fedprox", "mu": 0.5},
        {"name": "scaffold"},
        {"name": "fedadam", "server_learning_rate": 0.01},
        {"name": "median"},
        {"name": "fedgen", "hidden": 16, "generator_steps": 3},
        {"name": "feddistill+"},
        {"name": "fedbuff", "concurrency": 5},
    ],
    ids=lambda strategy: strategy["name"],
)
def test_with_every_kind_of_strategy_alone_and_together_are_the_same(train, strategy):
    section = head(**strategy)
    alone, together = (
        train("mlp", clients=6, rounds=3, federated={**section, "engine": engine})
        for engine in ("inline", "cohort")
    )
    ours, theirs = load_arrays(together.model), load_arrays(alone.model)
    assert max(np.abs(ours[name] - theirs[name]).max() for name in ours) < 1e-4
    for name in ("accuracy", "client_loss", "accuracy_seen_labels"):
        assert together.metrics[-1][name] == pytest.approx(alone.metrics[-1][name], abs=2e-3)


def test_clients_are_measured_as_often_as_the_job_says_and_at_the_end(train):
    run = train("mlp", clients=4, rounds=5, federated={**head(), "evaluate_every": 2})
    assert ["accuracy" in line for line in run.metrics] == [False, True, False, True, True]
    often = train("mlp", clients=4, rounds=5, federated=head())
    assert run.model == often.model
    assert run.metrics[-1]["accuracy"] == often.metrics[-1]["accuracy"]


@pytest.mark.parametrize(
    ("app", "section", "said"),
    [
        ("logistic", head(), "logistic has one layer only"),
        ("mlp", head(share="nothing"), "share: found"),
        ("mlp", head(share="tail"), "found 'tail'"),
        (
            "mlp",
            head(name="fedgen", share="all", average={"name": "fedavg", "share": "head"}),
            "beside average",
        ),
        (
            "mlp",
            {**head(), "data": {**DATA, "held_out": 0.2}, "evaluate_clients": "all"},
            "measure their models on the test samples anyway",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(train, app, section, said):
    with pytest.raises(UserError, match=said):
        train(app, clients=6, federated=section)
