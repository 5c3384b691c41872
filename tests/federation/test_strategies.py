"""Every strategy that a job file can name runs, and those that must agree with another do."""

import numpy as np
import pytest
from pydantic import TypeAdapter
from safetensors.numpy import load as load_arrays

from covey.federation.strategies.registry import StrategySection
from covey.federation.strategies.resolve import OPTIONS
from covey.platform.errors import UserError

COHORT = 5
DATA = {"name": "digits", "public": 0.1}
LOCAL = {"steps": 5, "batch_size": 16, "learning_rate": 0.1}


@pytest.fixture
def final(train):
    """The last checkpoint's arrays of a job with this strategy, on equal shares of digits."""

    def run(clients=3, rounds=3, **section):
        section.setdefault("local", LOCAL)
        return load_arrays(train("mlp", clients=clients, rounds=rounds, federated=section).model)

    return run


def distance(one, other):
    return max(np.abs(one[name] - other[name]).max() for name in one)


def app_of(name):
    """The smallest model that a strategy works with."""
    return "mlp" if OPTIONS[name].needs_latents else "logistic"


@pytest.mark.parametrize("name", OPTIONS)
def test_it_runs_three_rounds_and_learns(train, name):
    section = {"strategy": {"name": name}, "cohort": COHORT, "data": DATA, "local": LOCAL}
    if name in ("fedadagrad", "fedadam", "fedyogi"):
        section["strategy"]["server_learning_rate"] = 0.05
    run = train(app_of(name), clients=COHORT + 2, rounds=3, federated=section)
    assert [line["clients"] for line in run.metrics[-3:]] == [COHORT] * 3
    assert run.metrics[-1]["accuracy"] > 0.5
    loss = "client_loss" if name == "feddistill" else "loss"  # whose clients have their own models
    assert run.metrics[-1][loss] < run.metrics[0][loss]
    assert not run.said("not-in-checkpoint")


BATCHED = [name for name in OPTIONS if name not in ("feddistill", "scaffold", "qfedavg")]


@pytest.mark.parametrize("name", BATCHED)
def test_with_every_strategy_a_cohort_is_what_inline_is(train, name):
    section = {"strategy": {"name": name}, "cohort": COHORT, "data": DATA, "local": LOCAL}
    one, other = (
        train(app_of(name), clients=COHORT + 2, rounds=3, federated={**section, "engine": engine})
        for engine in ("inline", "cohort")
    )
    ours, theirs = load_arrays(other.model), load_arrays(one.model)
    assert {array.dtype for array in ours.values()} == {np.dtype(np.float32)}
    assert distance(ours, theirs) < 1e-4


@pytest.mark.slow
def test_compression_goes_with_every_strategy_that_does_not_refuse_it(train):
    packed = {"compression": {"kind": "top-k", "fraction": 1.0}}
    refused = set()
    for name in OPTIONS:
        section = {"strategy": {"name": name}, "cohort": COHORT, "data": DATA, "local": LOCAL}
        try:
            whole = train(app_of(name), rounds=2, federated={**section, **packed})
        except UserError as error:
            assert "leave one of them out" in str(error)
            refused.add(name)
            continue
        plain = train(app_of(name), rounds=2, federated=section)
        assert distance(load_arrays(whole.model), load_arrays(plain.model)) < 1e-5, name
    assert refused == {"fedbuff", "feddistill", "scaffold"}


def test_fedprox_with_mu_0_is_fedavg_bit_for_bit(train):
    local = {"local": LOCAL}
    fedavg = train("mlp", clients=3, federated=local).model
    assert train("mlp", clients=3, federated={**local, "strategy": prox(0)}).model == fedavg
    assert train("mlp", clients=3, federated={**local, "strategy": prox(1)}).model != fedavg


def test_fedprox_holds_clients_near_the_global_model(final):
    start = final(rounds=1, local={**LOCAL, "learning_rate": 1e-30})
    moved = [distance(start, final(rounds=1, strategy=prox(mu))) for mu in (0, 1, 9)]
    assert moved[0] > moved[1] > moved[2] > 0


def prox(mu):
    return {"name": "fedprox", "mu": mu}


def test_the_proximal_step_is_the_one_of_the_paper(final):
    """After two full-batch steps from w0: w2 = w1 - lr (gradient(w1) + mu (w1 - w0))."""
    lr, mu = 0.1, 2.0
    local = {"steps": 2, "batch_size": 2000, "learning_rate": lr}
    w0 = final(clients=1, rounds=1, local={**local, "learning_rate": 1e-30})
    w1 = final(clients=1, rounds=1, local={**local, "steps": 1})
    plain = final(clients=1, rounds=1, local=local)
    proximal = final(clients=1, rounds=1, local=local, strategy=prox(mu))
    expected = {name: plain[name] - lr * mu * (w1[name] - w0[name]) for name in w0}
    assert distance(proximal, expected) < 1e-6 < distance(proximal, plain)


@pytest.mark.parametrize(
    "strategy",
    [
        {"name": "trimmed-mean", "beta": 0},
        {"name": "fedavgm", "momentum": 0},
        {"name": "multi-krum", "select": 3},
        {"name": "qfedavg", "q": 0},
    ],
    ids=lambda strategy: strategy["name"],
)
def test_these_are_the_mean_of_equal_clients(final, strategy):
    assert distance(final(strategy=strategy), final()) < 1e-6


def test_qfedavg_weighs_by_the_loss_before_training(train):
    run = train("logistic", clients=3, rounds=1, federated={"strategy": {"name": "qfedavg"}})
    # 3 equal clients see the first model, whose loss is about that of guessing.
    assert run.metrics[-1]["train_loss-before"] == pytest.approx(np.log(10), rel=0.3)


@pytest.mark.parametrize(
    ("options", "cohort", "least"),
    [
        ({"name": "fedavg"}, 9, 1),
        ({"name": "krum", "malicious": 1}, 9, 5),
        ({"name": "bulyan", "malicious": 1}, 9, 7),
        ({"name": "multi-krum"}, 9, 3),
        ({"name": "multi-krum", "malicious": 1}, 9, 9),
        ({"name": "multi-krum", "malicious": 1, "select": 2}, 9, 5),
        ({"name": "trimmed-mean", "beta": 0.0}, 9, 1),
        ({"name": "trimmed-mean", "beta": 0.2}, 9, 5),
        ({"name": "trimmed-mean", "beta": 0.34}, 9, 3),
    ],
)
def test_the_fewest_replies_that_a_strategy_can_do_with(options, cohort, least):
    made = TypeAdapter(StrategySection).validate_python(options)
    assert made.least(cohort) == least


def test_a_robust_strategy_waits_for_as_many_replies_as_it_needs(train):
    section = {
        "cohort": 5,
        "strategy": {"name": "trimmed-mean"},
        "faults": {"dropout": 0.2},
        "round": {"attempts": 40},
    }
    run = train("logistic", clients=9, rounds=3, federated=section)
    assert [line["clients"] for line in run.metrics[1:]] == [5, 5, 5]
    assert "of the 5 replies that it needs" in run.said("round-again")[0]
