"""Rounds as a job runs them: limits, second attempts, faults, poisoned clients, what is counted."""

import json

import pytest

from covey.federation.rounds_section import depends_on_clock
from covey.platform.driver import run_attempt


def fails_on_call(count):
    """An app whose first `count` messages meet a client that fails; it says who was asked."""
    return f"""
calls = []

@client.train()
def train(msg, context):
    calls.append(context.node_id)
    if len(calls) <= {count}:
        raise RuntimeError("not today")
    metrics = MetricRecord({{"num-examples": context.node_id}})
    return Message(RecordDict({{"arrays": msg.content["arrays"], "m": metrics}}), reply_to=msg)

@server.main()
def main(grid, context):
    FedAvg(fraction_train=0.4, fraction_evaluate=0.0).start(grid, start, num_rounds=2)
    Path("calls.txt").write_text(" ".join(map(str, calls)))
"""


def test_a_round_with_too_few_replies_is_tried_again_with_other_clients(train, write_app):
    app = write_app(fails_on_call(3))
    limits = {"min_replies": 3, "attempts": 3}
    run = train(app, clients=10, rounds=2, federated={"round": limits})
    calls = (run.path / "app" / "calls.txt").read_text().split()
    assert len(calls) == 12 and not set(calls[:4]) & set(calls[4:8])
    (again,) = run.said("round-again")
    assert "round 1: 3 of 4 clients failed, first: node" in again
    assert "of the 3 replies that it needs 1 came: tried again with other clients" in again
    assert [line["clients"] for line in run.metrics] == [4, 4]
    assert [line.get("clients_failed", 0) for line in run.metrics] == [3, 0]


def test_after_the_last_attempt_the_job_fails_with_one_line(create, write_app):
    app = write_app(fails_on_call(100))
    outcome = run_attempt(create(app, clients=10, federated={"round": {"attempts": 2}}))
    assert outcome.exit_status == 1  # perhaps not again
    assert "4 of 4 clients failed" in outcome.error
    assert "of the 1 replies that it needs 0 came in 2 attempts" in outcome.error
    assert "\n" not in outcome.error and "ClientsFailed" not in outcome.error


PICKY = """
from flwr.serverapp.strategy import Bulyan
calls = []

@client.train()
def train(msg, context):
    calls.append(context.node_id)
    seen = context.state.setdefault("seen", ConfigRecord({"n": 0}))
    seen["n"] += 1
    if len(calls) in FAILING:
        raise RuntimeError("not today")
    metrics = MetricRecord({"num-examples": 1, "seen": seen["n"]})
    arrays = ArrayRecord({"w": Array(msg.content["arrays"]["w"].numpy() + 1)})
    return Message(RecordDict({"arrays": arrays, "m": metrics}), reply_to=msg)

class Own(FedAvg):
    def aggregate_train(self, server_round, replies):
        return (None, None) if server_round == 2 else super().aggregate_train(server_round, replies)

class Measuring(FedAvg):
    def aggregate_train(self, server_round, replies):
        return None, super().aggregate_train(server_round, replies)[1]

@server.main()
def main(grid, context):
    result = STRATEGY(fraction_evaluate=0.0).start(grid, start, num_rounds=3)
    Path("w.txt").write_text(str(result.arrays["w"].numpy().tolist() if result.arrays else []))
"""


def picky(strategy, failing=()):
    return PICKY.replace("STRATEGY", strategy).replace("FAILING", str(tuple(failing)))


def test_a_round_of_which_the_strategy_makes_nothing_is_tried_again(train, write_app):
    app = write_app(picky("Bulyan", [2]))  # it needs three replies
    run = train(app, clients=3, rounds=3, federated={"round": {"attempts": 2}})
    assert run.said("round-again") == [
        "round 1: Bulyan made no model of the 2 replies: tried again with other clients"
    ]
    assert (run.path / "app" / "w.txt").read_text() == "[3.0]"
    assert [line["clients"] for line in run.metrics] == [3, 3, 3]
    assert [line["train_seen"] for line in run.metrics] == [1, 2, 3]  # as if tried once


def test_a_job_whose_strategy_makes_nothing_of_its_replies_fails(create, write_app):
    outcome = run_attempt(create(write_app(picky("Bulyan", range(1, 99, 3))), clients=3))
    assert outcome.error == "round 1: Bulyan made no model of the 2 replies"


def test_a_strategy_of_an_apps_own_may_leave_the_model_as_it_was(train, write_app):
    run = train(write_app(picky("Own")), clients=3, rounds=3)
    assert run.said("not-trained") == [
        "round 2: Own made no model of the 3 replies: the model stays as it was"
    ]
    assert (run.path / "app" / "w.txt").read_text() == "[2.0]"
    assert [line["clients"] for line in run.metrics] == [3, 0, 3]


def test_a_strategy_that_only_measures_is_left_alone(train, write_app):
    run = train(write_app(picky("Measuring")), clients=3, rounds=3)
    assert not run.said("not-trained") and not run.said("round-again")
    assert [line["train_seen"] for line in run.metrics] == [1, 2, 3]


def test_more_replies_than_the_strategy_asks_for_are_refused(create, write_app):
    app = write_app(fails_on_call(0))
    outcome = run_attempt(create(app, clients=10, federated={"round": {"min_replies": 5}}))
    assert outcome.exit_status == 2
    assert "min_replies is 5, but FedAvg asks 4 clients in a round" in outcome.error


def test_no_further_client_begins_after_the_rounds_time(train, write_app):
    slow = fails_on_call(0).replace(
        "    calls.append", "    import time; time.sleep(2.5)\n    calls.append"
    )
    job = {"clients": 10, "rounds": 1, "deterministic": False}
    run = train(write_app(slow), **job, federated={"round": {"timeout_s": 4.0}})
    counts = run.metrics[-1]
    assert counts["clients"] + counts["clients_dropped"] == 4
    assert 1 <= counts["clients"] <= 3
    assert "no reply within 4 s" in run.said("client-late")[0]


FAULTS = {
    "dropout": 0.2,
    "stragglers": {"fraction": 0.5, "delay_s": 5.0, "distribution": "exponential"},
}


def test_simulated_faults_are_counted_and_take_simulated_time(train):
    section = {"faults": FAULTS, "round": {"virtual_timeout_s": 8.0}}
    run = train("memory", clients=12, rounds=12, federated={**section, "cohort": 6})
    rounds = run.metrics[1:]
    assert all(line["clients"] + line["clients_dropped"] == 6 for line in rounds)
    assert 5 < sum(line["clients_dropped"] for line in rounds) < 40
    assert all(0 <= line["virtual_round_s"] <= 8.0 for line in rounds)
    assert {line["virtual_round_s"] for line in rounds if line["clients_dropped"]} == {8.0}
    slept_s = sum(line["virtual_round_s"] for line in rounds)
    assert sum(line["round_s"] for line in rounds) < slept_s / 2  # nobody did
    assert not run.said("client-dropped")  # asked for, so only counted


def test_without_a_limit_a_round_lasts_until_the_slowest_answers(train):
    run = train("memory", clients=6, rounds=6, federated={"faults": {**FAULTS, "dropout": 0.0}})
    assert all(line["clients_dropped"] == 0 for line in run.metrics[1:])
    assert max(line["virtual_round_s"] for line in run.metrics[1:]) > 8.0


def test_a_client_that_is_lost_keeps_its_state_as_it_was(train):
    run = train("memory", clients=4, rounds=8, federated={"cohort": 4, "faults": {"dropout": 0.4}})
    table = json.loads((run.path / "clients.json").read_text())
    trained = sum(line["clients"] for line in run.metrics[1:])
    assert sum(table["trained"]) == trained < 32
    assert sum(table["trained"]) + sum(table["dropped"]) == 4 * 8


POISON = """
@client.train()
def train(msg, context):
    w = msg.content["arrays"]["w"].numpy() + 1
    client = context.node_config["partition-id"]
    if client == 1:
        w[0] = np.nan
    if client == 2:
        w = np.ones(7)
    array = Array(w)
    if client == 3:
        array = Array("float64", (1_250_000_000,), "numpy.ndarray",
                      array.data.replace(b"(1,), }" + b" " * 12, b"(1250000000,), }" + b" " * 3))
    records = {"arrays": ArrayRecord({"w": array}), "m": MetricRecord({"num-examples": 1})}
    return Message(RecordDict(records), reply_to=msg)

@server.main()
def main(grid, context):
    result = FedAvg(fraction_evaluate=0.0).start(grid, start, num_rounds=2)
    Path("w.txt").write_text(str(result.arrays["w"].numpy().tolist()))
"""


def test_poisoned_clients_are_refused_and_named_and_the_round_goes_on(train, write_app):
    run = train(write_app(POISON), clients=5, rounds=2)
    assert (run.path / "app" / "w.txt").read_text() == "[2.0]"
    assert [line["clients"] for line in run.metrics] == [2, 2]
    assert [line["clients_refused"] for line in run.metrics] == [3, 3]
    refused = [event for event in run.events if event["kind"] == "client-refused"]
    assert [event["nodes"] for event in refused] == [[3, 4, 5], [3, 4, 5]]
    first = {
        3: "array w of arrays holds",
        4: "array w of arrays has shape",
        5: "an array of [1250000000]",
    }
    assert any(
        f"3 of 5 clients were refused, first: node {node}: {what}" in refused[0]["message"]
        for node, what in first.items()
    )
    table = json.loads((run.path / "clients.json").read_text())
    assert table["refused"] == [0, 2, 2, 2, 0]
    log = (run.path / "flower.log").read_text()
    assert "has shape [7], sent was [1]" in log
    assert "10,000,000,000 bytes, 8 came" in log


OTHER_FORM = """
def answer(msg, records):
    return Message(RecordDict({"m": MetricRecord({"num-examples": 2, "x": 4.0}), **records}),
                   reply_to=msg)

@client.train()
def train(msg, context):
    odd = context.node_config["partition-id"] == 1
    arrays = {"v" if odd else "w": Array(msg.content["arrays"]["w"].numpy() + 1)}
    return answer(msg, {"arrays": ArrayRecord(arrays)})

@client.evaluate()
def evaluate(msg, context):
    odd = context.node_config["partition-id"] == 2
    return answer(msg, {"more": MetricRecord({"num-examples": 1})} if odd else {})

@server.main()
def main(grid, context):
    FedAvg().start(grid, start, num_rounds=2)
"""


def test_a_client_that_answers_in_another_form_is_refused_and_the_round_goes_on(train, write_app):
    run = train(write_app(OTHER_FORM), clients=4, rounds=2)
    assert [(line["clients"], line["clients_refused"]) for line in run.metrics] == [(3, 1)] * 2
    assert run.metrics[-1]["client_x"] == 4.0
    trained, evaluated = [e for e in run.events if e["kind"] == "client-refused"][:2]
    assert trained["nodes"] == [3] and "node 3: has no array w of arrays" in trained["message"]
    assert evaluated["nodes"] == [4]
    assert "round 1, evaluation: 1 of 4 clients was refused" in evaluated["message"]


COUNTING = """
@client.train()
def train(msg, context):
    count = context.state.setdefault("count", ConfigRecord({"n": 0}))
    count["n"] += 1
    bad = context.node_config["partition-id"] == 1
    w = Array(np.full(1, np.nan if bad else count["n"]))
    records = {"arrays": ArrayRecord({"w": w}), "m": MetricRecord({"num-examples": 1,
               "n": count["n"]})}
    return Message(RecordDict(records), reply_to=msg)

@server.main()
def main(grid, context):
    FedAvg(fraction_evaluate=0.0).start(grid, start, num_rounds=3)
    counts = [grid.states[c]["count"]["n"] if c in grid.states else 0 for c in range(3)]
    Path("counts.txt").write_text(str(counts))
"""


def test_a_client_whose_reply_is_refused_keeps_its_state_as_it_was(train, write_app):
    run = train(write_app(COUNTING), clients=3, rounds=3)
    assert (run.path / "app" / "counts.txt").read_text() == "[3, 0, 3]"


def test_what_no_strategy_can_use_is_one_line(create, write_app):
    other = OTHER_FORM.replace('"num-examples": 2, ', "")
    outcome = run_attempt(create(write_app(other), clients=4))
    assert "round 1: FedAvg cannot use what the clients sent" in outcome.error
    assert "Missing required key `num-examples`" in outcome.error and "\n" not in outcome.error


def test_clients_without_samples_are_refused_together(create, write_app):
    none = fails_on_call(0).replace('"num-examples": context.node_id', '"num-examples": 0')
    outcome = run_attempt(create(write_app(none), clients=5))
    assert "num-examples is 0 for all clients: there is nothing to weigh by" in outcome.error


def test_bytes_are_counted_by_round_and_by_client(train, write_app):
    run = train(write_app(POISON), clients=5, rounds=2)
    table = json.loads((run.path / "clients.json").read_text())
    down = len("arrays") + len("w") + 128 + 8 + len("config") + len("server-round") + 8
    up = len("arrays") + len("w") + 128 + 8 + len("m") + len("num-examples") + 8
    assert [line["bytes_down"] for line in run.metrics] == [5 * down] * 2
    # What client 2 sends is larger; client 3's array never gets as far.
    assert [line["bytes_up"] for line in run.metrics] == [4 * up + 6 * 8] * 2
    assert table["bytes_down"] == [2 * down] * 5
    assert table["bytes_up"] == [2 * up, 2 * up, 2 * (up + 48), 0, 2 * up]
    assert table["samples"] == [1, 0, 0, 0, 1]


def test_evaluation_on_clients_counts_as_traffic(train):
    run = train("memory", clients=4, rounds=1, federated={"cohort": 2})
    table = json.loads((run.path / "clients.json").read_text())
    assert sum(table["asked"]) == 2 + 2  # half of the clients evaluate
    assert run.metrics[-1]["bytes_down"] == sum(table["bytes_down"])


def test_a_rounds_time_is_told_by_phase(train):
    last = train("memory", rounds=2).metrics[-1]
    phases = [last[f"{name}_s"] for name in ("configure", "clients", "aggregate", "evaluate")]
    assert all(seconds > 0 for seconds in phases)
    assert last["evaluate_s"] >= 0.01  # that is how long the app's own evaluation sleeps
    assert sum(phases) <= last["round_s"] == pytest.approx(1 / last["rounds_per_s"])


def test_early_stopping_says_why_and_is_not_undone_by_a_resume(create):
    # A figure that only ever grows.
    section = {"early_stop": {"metric": "train_turns", "better": "lower", "patience": 3}}
    path = create("memory", clients=4, rounds=20, federated=section)
    for _ in range(2):
        assert run_attempt(path).state == "succeeded"
        result = json.loads((path / "result.json").read_text())
        assert result["step"] == 4
        assert (
            "train_turns has not got better for 3 rounds: the best was 1, in round 1"
            == (result["reason"])
        )


OWN_SAMPLING = """
@client.train()
def train(msg, context):
    metrics = MetricRecord({"num-examples": 1})
    return Message(RecordDict({"arrays": msg.content["arrays"], "m": metrics}), reply_to=msg)

class First(FedAvg):
    def configure_train(self, server_round, arrays, config, grid):
        records = RecordDict({"arrays": arrays})
        return [Message(records, node, "train") for node in list(grid.get_node_ids())[:2]]

@server.main()
def main(grid, context):
    First(fraction_evaluate=0.0).start(grid, start, num_rounds=3)
"""


def test_a_strategy_that_samples_by_its_own_rule_is_told_of(train, write_app):
    sampling = {"sampling": {"policy": "round-robin"}}
    run = train(write_app(OWN_SAMPLING), clients=4, rounds=3, federated=sampling)
    assert run.said("sampling") == [
        "federated.sampling is not used: the strategy does not call Flower's sample_nodes"
    ]


def test_a_policy_decides_for_an_app_folder(train):
    sampling = {"cohort": 2, "sampling": {"policy": "round-robin"}}
    run = train("memory", clients=6, rounds=6, federated=sampling)
    table = json.loads((run.path / "clients.json").read_text())
    assert table["trained"] == [2] * 6


def test_clients_of_built_in_apps_are_drawn_by_the_samples_they_have(train):
    data = {"name": "digits", "partition": {"kind": "dirichlet", "alpha": 0.3}}
    section = {"cohort": 1, "data": data, "sampling": {"policy": "weighted"}}
    run = train("logistic", clients=8, rounds=40, federated=section)
    table = json.loads((run.path / "clients.json").read_text())
    drawn = dict(zip(table["samples"], table["trained"], strict=True))
    assert drawn[max(drawn)] > drawn[min(drawn)]


def test_rounds_for_which_nobody_is_there_are_tried_again(train):
    sampling = {"policy": "available", "probability": 0.05}
    section = {"cohort": 3, "sampling": sampling, "round": {"attempts": 200}}
    run = train("memory", clients=6, rounds=4, federated=section)
    assert any("0 clients replied" in line for line in run.said("round-again"))
    assert all(1 <= line["clients"] <= 3 for line in run.metrics[1:])


def test_a_round_for_which_nobody_is_there_leaves_the_model_as_it_was(train):
    sampling = {"policy": "available", "probability": 0.02}
    section = {"cohort": 3, "sampling": sampling, "round": {"attempts": 2}}
    run = train("memory", clients=6, rounds=6, federated=section)
    empty = [line["step"] for line in run.metrics[1:] if line["clients"] == 0]
    told = [event["round"] for event in run.events if event["kind"] == "not-trained"]
    assert empty == told and empty
    assert run.result["step"] == 6


def test_too_few_that_are_there_is_a_line_that_says_what_to_do(create):
    sampling = {"policy": "available", "probability": 0.1}
    section = {"cohort": 5, "sampling": sampling, "round": {"min_replies": 5, "attempts": 2}}
    outcome = run_attempt(create("memory", clients=6, federated=section))
    assert "came in 2 attempts (federated.sampling.probability is 0.1: raise it" in outcome.error


def test_figures_of_the_clock_are_known_by_name(train):
    last = train("memory", rounds=1, federated={"faults": FAULTS}).metrics[-1]
    assert {name for name in last if depends_on_clock(name)} == {
        *("wall_s", "configure_s", "clients_s", "aggregate_s", "evaluate_s"),
        *("round_s", "rounds_per_s"),
    }
