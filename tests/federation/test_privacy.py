"""Noise, clipping and the account of what they are worth."""

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent
from dp_accounting.rdp import RdpAccountant as Reference
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg

from covey.federation.grids import InlineGrid
from covey.federation.noise import secret_noise, seeded_noise
from covey.federation.privacy import make_private, privacy_figures
from covey.federation.privacy_section import AdaptiveClipping, FixedClipping
from covey.federation.strategy_state import restore_strategy, save_strategy

LOCAL = {"steps": 5, "batch_size": 16, "learning_rate": 0.1}
FIXED = {"clipping": "fixed", "noise_multiplier": 2.0, "delta": 1e-3}
ADAPTIVE = {"clipping": "adaptive", "noise_multiplier": 2.0, "count_deviation": 2.0, "delta": 1e-3}


def epsilon(rounds, noise_multiplier=2.0, delta=1e-3):
    accountant = Reference()
    accountant.compose(GaussianDpEvent(noise_multiplier), rounds)
    return accountant.get_epsilon(delta)


@pytest.mark.parametrize("options", [FIXED, ADAPTIVE], ids=["fixed", "adaptive"])
def test_epsilon_is_told_every_round(train, options):
    section = {"local": LOCAL, "differential_privacy": options, "cohort": 5}
    run = train("logistic", clients=8, rounds=3, federated=section)
    spent = [line["epsilon"] for line in run.metrics[1:]]
    assert spent == pytest.approx([epsilon(1), epsilon(2), epsilon(3)], rel=1e-9)
    assert not run.said("not-in-checkpoint")


def test_training_ends_before_the_budget_is_spent(train):
    options = {**FIXED, "max_epsilon": (epsilon(3) + epsilon(4)) / 2}
    section = {"local": LOCAL, "differential_privacy": options}
    run = train("logistic", clients=4, rounds=9, federated=section)
    assert run.result["step"] == 3 and run.result["state"] == "succeeded"
    assert "would exceed max_epsilon" in run.said("privacy-budget")[0]


def private(options, cohort=4, noise=secret_noise):
    return make_private(FedAvg(fraction_evaluate=0.0), options, cohort, 4, noise)


def one_round(strategy, steps, number=1):
    """Clients that move each of 1,000 weights by `steps[client]`, and have 1, 2, 3... samples."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        arrays = ArrayRecord({"w": Array(message.content["arrays"]["w"].numpy() + steps[client])})
        metrics = MetricRecord({"num-examples": 1 + client})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    grid = InlineGrid(app, num_clients=len(steps))
    arrays = ArrayRecord({"w": Array(np.zeros(1000))})
    messages = strategy.configure_train(number, arrays, ConfigRecord(), grid)
    return strategy.aggregate_train(number, list(grid.send_and_receive(messages)))[0]


def test_clients_count_alike_and_none_for_more_than_the_norm():
    quiet = FixedClipping(clipping="fixed", noise_multiplier=1e-9, clipping_norm=1.0)
    arrays = one_round(private(quiet), [0.01, 0.01, 0.01, 100.0])
    each = 0.01 * np.sqrt(1000)  # below 1: only the last is clipped
    assert arrays["w"].numpy() == pytest.approx((3 * each + 1) / 4 / np.sqrt(1000), rel=1e-6)


def test_the_noise_has_the_deviation_that_was_asked_for():
    options = FixedClipping(clipping="fixed", noise_multiplier=3.0, clipping_norm=0.5)
    noise = one_round(private(options), [1e-9] * 4)["w"].numpy()
    assert noise.std() == pytest.approx(3.0 * 0.5 / 4, rel=0.1)


@pytest.mark.parametrize(("norm", "grows"), [(1e-3, True), (1e3, False)])
def test_the_adaptive_norm_goes_towards_the_updates(norm, grows):
    options = AdaptiveClipping(
        clipping="adaptive", initial_clipping_norm=norm, noise_multiplier=1e-3, count_deviation=0.1
    )
    strategy = private(options)
    one_round(strategy, [0.1] * 4)
    after = privacy_figures(strategy)["clipping_norm"]
    assert (after > norm) == grows
    assert after == pytest.approx(norm * np.exp(0.1 if grows else -0.1), rel=0.05)


@pytest.mark.parametrize("options", [FIXED, ADAPTIVE], ids=["fixed", "adaptive"])
def test_the_account_goes_on_from_a_checkpoint_to_the_last_bit(options):
    kind = FixedClipping if options is FIXED else AdaptiveClipping
    strategy, other = private(kind(**options)), private(kind(**options))
    for number in (1, 2, 3):
        one_round(strategy, [0.1] * 4, number)
    saved, account = save_strategy(strategy), other.account
    restore_strategy(other, saved.tree, saved.arrays)
    assert saved.left_out == []
    assert other.account is account
    assert privacy_figures(other) == privacy_figures(strategy)
    for each in (strategy, other):
        one_round(each, [0.1] * 4, 4)
    assert privacy_figures(other)["epsilon"] == privacy_figures(strategy)["epsilon"]


def test_a_ledger_of_another_configuration_is_refused():
    saved = save_strategy(private(FixedClipping(**FIXED)))
    other = private(FixedClipping(**{**FIXED, "delta": 1e-6}))
    with pytest.raises(ValueError, match="does not match"):
        restore_strategy(other, saved.tree, saved.arrays)


LOST = "no number"  # which the client fails at
QUIET = FixedClipping(clipping="fixed", noise_multiplier=1e-9, clipping_norm=1.0)


def test_a_client_that_is_lost_is_one_that_changes_nothing():
    arrays = one_round(private(QUIET), [0.01, LOST, 0.02, LOST])
    assert arrays["w"].numpy() == pytest.approx((0.01 + 0.02) / 4, rel=1e-6)
    arrays = one_round(private(QUIET), [0.0, 0.0, 0.01, 0.0])
    assert arrays["w"].numpy() == pytest.approx(0.01 / 4, rel=1e-6)


def test_the_noise_and_its_price_are_the_same_whoever_is_lost():
    options = FixedClipping(clipping="fixed", noise_multiplier=3.0, clipping_norm=0.5)
    strategy = private(options)
    noise = one_round(strategy, [1e-9, LOST, LOST, LOST])["w"].numpy()
    assert noise.std() == pytest.approx(3.0 * 0.5 / 4, rel=0.1)
    assert privacy_figures(strategy)["epsilon"] == pytest.approx(epsilon(1, 3.0, 1e-5))


def test_when_all_are_lost_nothing_is_released_and_nothing_spent():
    strategy = private(FixedClipping(**FIXED))
    assert one_round(strategy, [LOST] * 4) is None
    assert privacy_figures(strategy)["epsilon"] == 0


def test_for_the_norm_a_client_that_is_lost_is_neither_within_nor_beyond():
    options = AdaptiveClipping(
        clipping="adaptive", noise_multiplier=1e-3, count_deviation=1e-2, target_quantile=0.5
    )
    strategy = private(options)
    one_round(strategy, [1e-6, LOST, 100.0, LOST])
    assert privacy_figures(strategy)["clipping_norm"] == pytest.approx(0.1, rel=0.01)
    one_round(strategy, [1e-6, LOST, LOST, LOST])
    shrunk = 0.1 * np.exp(-0.2 * (5 / 8 - 1 / 2))
    assert privacy_figures(strategy)["clipping_norm"] == pytest.approx(shrunk, rel=0.01)


@pytest.mark.parametrize("options", [FIXED, ADAPTIVE], ids=["fixed", "adaptive"])
@pytest.mark.parametrize(
    "losses",
    [
        {"faults": {"dropout": 0.3}},
        {"faults": {"dropout": 0.5}, "round": {"min_replies": 3, "attempts": 50}},
        {"sampling": {"policy": "available"}},
    ],
    ids=["dropout", "again", "available"],
)
def test_rounds_with_lost_clients_train_and_are_accounted_for(train, options, losses):
    section = {"local": LOCAL, "differential_privacy": options, "cohort": 4, **losses}
    run = train("logistic", clients=8, rounds=4, federated=section)
    assert run.metrics[-1]["epsilon"] == pytest.approx(epsilon(4), rel=1e-9)
    assert min(line["clients"] for line in run.metrics[1:]) >= section.get("round", {}).get(
        "min_replies", 1
    )
    assert len({line["loss"] for line in run.metrics}) == 5  # each round has moved the model
    assert bool(run.said("round-again")) == ("round" in losses)


@pytest.mark.parametrize("deterministic", [True, False])
def test_only_the_noise_of_a_deterministic_job_can_be_drawn_again(train, deterministic):
    section = {"local": LOCAL, "differential_privacy": FIXED}
    job = {"clients": 4, "rounds": 1, "federated": section, "deterministic": deterministic}
    first, second = train("logistic", **job), train("logistic", **job)
    assert (first.model == second.model) == deterministic
    assert bool(first.said("privacy-noise")) == deterministic


@pytest.mark.parametrize("noise", [secret_noise, seeded_noise])
def test_noise_is_gaussian(noise):
    numbers = noise(3.0, (200, 500)) / 3.0
    moments = [float((numbers**power).mean()) for power in (1, 2, 3, 4)]
    assert moments == pytest.approx([0, 1, 0, 3], abs=0.15)
    assert abs(np.corrcoef(numbers.ravel()[1:], numbers.ravel()[:-1])[0, 1]) < 0.02
    assert noise(1.0, ()).shape == ()
