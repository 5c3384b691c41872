import pytest
from flwr.app import MetricRecord, RecordDict
from flwr.serverapp.strategy import DifferentialPrivacyServerSideFixedClipping, FedAvg, Strategy

from covey.federation.apps.client_evaluation import combined, evaluate_on_clients
from covey.federation.apps.settings import Settings, run_config_of
from covey.federation.apps.shares import shares

HELD_OUT = {"name": "digits", "held_out": 0.2, "partition": {"kind": "dirichlet", "alpha": 0.1}}


def reply(accuracy, loss=1.0, count=10):
    metrics = {"accuracy": accuracy, "loss": loss, "num-examples": count}
    return RecordDict({"metrics": MetricRecord(metrics)})


def test_every_client_counts_the_same_and_the_worst_tenth_by_itself():
    replies = [reply(accuracy / 20, count=20 - accuracy) for accuracy in range(1, 20)]
    assert dict(combined([*replies, reply(0.0, 21.0, 0)], "num-examples")) == pytest.approx(
        {"accuracy": 0.5, "accuracy_worst_decile": 0.075, "loss": 1.0, "count": 19}
    )
    assert dict(combined([reply(0.25)], ""))["accuracy_worst_decile"] == 0.25
    assert not combined([reply(0.0, count=0)], "")


def test_the_order_of_the_replies_does_not_matter():
    replies = [reply(1 / n, 1e6 / n) for n in range(1, 30)]
    assert combined(replies, "") == combined(replies[::-1], "")


def test_the_strategy_inside_a_wrapper_is_told():
    inner = FedAvg(fraction_evaluate=0.0)
    wrapper: Strategy = DifferentialPrivacyServerSideFixedClipping(inner, 1.0, 1.0, 4)
    evaluate_on_clients(wrapper, 0)
    assert inner.fraction_evaluate == 0.0
    evaluate_on_clients(wrapper, 4)
    assert inner.min_evaluate_nodes == 4 and inner.evaluate_metrics_aggr_fn is combined


def settings_for(parse, **data):
    return Settings(**run_config_of(parse(federated={"data": {**HELD_OUT, **data}})))


def test_a_fifth_of_each_client_is_held_out_and_nothing_is_lost(parse):
    settings = settings_for(parse)
    held, without = shares(settings, 6), shares(settings_for(parse, held_out=0), 6)
    for mine, whole in zip(held, without, strict=True):
        assert sorted([*mine.train, *mine.held_out]) == whole.train.tolist()
        assert len(mine.held_out) == max(1, round(0.2 * len(whole.train)))
        assert not len(whole.held_out)
    shares.cache_clear()
    again = shares(settings, 6)
    assert all((a.held_out == b.held_out).all() for a, b in zip(held, again, strict=True))


def test_a_client_keeps_a_sample_to_train_on(parse):
    data = {"held_out": 0.9, "partition": {"kind": "iid"}}
    parts = shares(settings_for(parse, **data), 1000)  # of one or two samples
    assert {(len(part.train), len(part.held_out)) for part in parts} == {(1, 0), (1, 1)}


@pytest.mark.parametrize(("wanted", "count"), [(True, 3), ("all", 6)])
def test_clients_measure_the_model_by_round(train, wanted, count):
    section = {"data": HELD_OUT, "cohort": 3, "evaluate_clients": wanted}
    first, again = (train("logistic", rounds=3, federated=section) for _ in range(2))
    last = first.metrics[-1]
    assert last["client_count"] == count
    assert 0 <= last["client_accuracy_worst_decile"] <= last["client_accuracy"] <= 1
    assert last["client_loss"] > 0 and last["accuracy"] != last["client_accuracy"]
    figures = ("client_accuracy", "client_accuracy_worst_decile", "client_loss")
    for mine, theirs in zip(first.metrics[1:], again.metrics[1:], strict=True):
        assert [mine[name] for name in figures] == [theirs[name] for name in figures]


def test_what_clients_say_is_what_the_model_does_on_their_samples(train, parse):
    section = {"data": HELD_OUT, "evaluate_clients": "all"}
    run = train("logistic", rounds=1, federated=section)
    from safetensors.numpy import load as load_arrays

    from covey.federation.data import load

    arrays, data = load_arrays(run.model), load("digits")
    accuracies = []
    for mine in shares(settings_for(parse), 6):
        logits = data.train_images[mine.held_out] @ arrays["output.weight"].T
        named = (logits + arrays["output.bias"]).argmax(1)
        accuracies.append((named == data.train_labels[mine.held_out]).mean())
    assert run.metrics[-1]["client_accuracy"] == pytest.approx(sum(accuracies) / 6)
    assert run.metrics[-1]["client_accuracy_worst_decile"] == pytest.approx(min(accuracies))
