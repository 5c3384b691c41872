import math

import pytest

from covey.federation.early_stop import EarlyStop
from covey.federation.rounds_section import EarlyStopSection
from covey.platform.errors import UserError


def stops_after(values, metric="accuracy", **section):
    """The round after which training ends."""
    early = EarlyStop(EarlyStopSection(metric=metric, **section))
    for number, value in enumerate(values):
        early.see(number, {metric: value}, evaluated=True)
        if early.reason(number) is not None:
            return number
    return None


def test_it_stops_when_nothing_better_has_come_for_so_many_rounds():
    assert stops_after([0.1, 0.5, 0.4, 0.5, 0.3, 0.9], patience=3) == 4
    assert stops_after([0.1, 0.2, 0.3, 0.4], patience=1) is None


def test_of_a_loss_less_is_better_unless_the_job_says_otherwise():
    falling = [3.0, 2.0, 1.0]
    assert stops_after(falling, metric="train_loss", patience=1) is None
    assert stops_after(falling, metric="train_loss", patience=1, better="higher") == 1
    assert stops_after(falling, metric="distance", patience=1) == 1
    assert stops_after(falling, metric="distance", patience=1, better="lower") is None


def test_a_gain_that_is_too_small_is_none():
    assert stops_after([0.5, 0.505, 0.509], patience=2, min_delta=0.01) == 2
    assert stops_after([0.5, 0.505, 0.511], patience=2, min_delta=0.01) is None


def test_rounds_without_the_metric_count_but_never_end_the_training():
    early = EarlyStop(EarlyStopSection(patience=2))
    early.see(0, {"accuracy": 0.5}, evaluated=True)
    for number in (1, 2):
        early.see(number, {}, evaluated=False)
        assert early.reason(number) is None
    early.see(3, {"accuracy": 0.5}, evaluated=True)
    assert early.reason(3) == (
        "accuracy has not got better for 3 rounds: the best was 0.5, in round 0"
    )


def test_numbers_that_are_none_are_never_better():
    assert stops_after([math.nan, math.nan, math.nan], metric="loss", patience=2) == 2
    assert stops_after([math.nan, 2.0, 1.0, math.nan], metric="loss", patience=2) is None


def test_a_metric_that_never_comes_is_named():
    early = EarlyStop(EarlyStopSection(metric="acuracy", patience=2))
    early.see(1, {"accuracy": 0.1, "loss": 1.0}, evaluated=True)
    with pytest.raises(UserError, match="acuracy, but a round reports accuracy, loss; nearest is"):
        early.see(2, {"accuracy": 0.1, "loss": 1.0}, evaluated=True)


def test_it_goes_on_from_its_state():
    first, second = (EarlyStop(EarlyStopSection(patience=2)) for _ in range(2))
    first.see(4, {"accuracy": 0.7}, evaluated=True)
    second.state = first.state
    assert second.state == (0.7, 4, 4)
    second.see(5, {"accuracy": 0.6}, evaluated=True)
    assert second.reason(5) is None
    second.see(6, {"accuracy": 0.7}, evaluated=True)
    assert second.reason(6)


def test_without_a_section_it_never_stops():
    early = EarlyStop(None)
    early.see(1, {}, evaluated=True)
    assert early.reason(10**6) is None


def test_a_metric_that_comes_every_few_rounds_is_waited_for(train):
    section = {"evaluate_every": 5, "early_stop": {"metric": "accuracy", "patience": 3}}
    local = {"steps": 1, "batch_size": 16, "learning_rate": 0.05}
    run = train("logistic", clients=4, rounds=12, federated={**section, "local": local})
    assert run.result["step"] == 12
    flat = {**section, "local": {**local, "learning_rate": 1e-9}}
    run = train("logistic", clients=4, rounds=12, federated=flat)
    assert run.result["step"] == 5 and "for 5 rounds" in run.result["reason"]
