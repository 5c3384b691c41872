from dataclasses import dataclass

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg

from covey.federation.asynchronous import Asynchronous
from covey.federation.faults import Fault
from covey.federation.fedbuff import FedBuff
from covey.federation.flower_internals import become_server
from covey.federation.grids import InlineGrid
from covey.federation.strategy_state import restore_strategy, save_strategy
from covey.platform.driver import run_attempt


@pytest.fixture(autouse=True)
def server():
    become_server()


@dataclass
class Clients:
    """Runs FedBuff's rounds with given durations; a client adds its node's number to the model."""

    strategy: FedBuff
    number: int
    durations: dict[int, float]
    weights: float = 0.0
    round: int = 0
    lost: tuple[int, ...] = ()

    def __post_init__(self):
        self.grid = InlineGrid(ClientApp(), num_clients=self.number)
        self.strategy.choose = lambda nodes, size, population: nodes[:size]
        self.strategy.fault_of = lambda node, number, start: Fault(
            self.durations.get(node, 1.0), "gone" if start in self.lost else None
        )
        self.model = ArrayRecord({"w": Array(np.array([self.weights]))})

    def update(self, **rest):
        """One round; returns the nodes in the order in which they finished, and the metrics."""
        self.round += 1
        messages = self.strategy.configure_train(self.round, self.model, ConfigRecord(), self.grid)
        messages = list(messages)
        answering = [m for m in messages if m.metadata.dst_node_id not in self.strategy.lost]
        replies = [answer(message) for message in answering]
        self.model, metrics = self.strategy.aggregate_train(self.round, replies)
        self.w = float(self.model["w"].numpy()[0])
        return [message.metadata.dst_node_id for message in messages], metrics


def answer(message, samples=1):
    node = message.metadata.dst_node_id
    w = message.content["arrays"]["w"].numpy() + node
    records = {
        "arrays": ArrayRecord({"w": Array(w)}),
        "metrics": MetricRecord({"num-examples": samples}),
    }
    reply = Message(RecordDict(records), reply_to=message)
    reply.metadata.__dict__["_src_node_id"] = node
    return reply


def test_it_is_what_the_loop_calls_asynchronous():
    assert isinstance(FedBuff(2, 2), Asynchronous)
    assert not isinstance(FedAvg(), Asynchronous)


def test_the_fast_do_not_wait_for_the_slow_and_the_slow_are_stale():
    clients = Clients(FedBuff(buffer=2, concurrency=3), 3, {2: 1.0, 3: 1.5, 4: 4.0})
    seen = [(*clients.update(), clients.strategy.clock_s) for _ in range(3)]
    assert [nodes for nodes, _, _ in seen] == [[2, 3], [2, 3], [4, 2]]
    assert [clock for _, _, clock in seen] == [1.5, 3.0, 4.0]
    assert [metrics["staleness_max"] for _, metrics, _ in seen] == [0, 0, 2]


def test_the_update_is_the_papers_by_hand():
    strategy = FedBuff(2, 3, staleness_exponent=0.5, server_learning_rate=0.8)
    clients = Clients(strategy, 3, {2: 1.0, 3: 1.5, 4: 4.0}, weights=10.0)
    for _ in range(3):
        clients.update()
    expected = 10.0
    expected += 0.8 * (2 + 3) / 2
    expected += 0.8 * (2 + 3) / 2
    expected += 0.8 * (2 + 4 * 3**-0.5) / 2  # node 4 has trained from the model two updates before
    assert clients.w == pytest.approx(expected, abs=1e-12)


def test_with_exponent_zero_stale_replies_weigh_as_much():
    clients = Clients(FedBuff(2, 3, staleness_exponent=0.0), 3, {2: 1.0, 3: 1.5, 4: 4.0})
    for _ in range(3):
        clients.update()
    assert clients.w == pytest.approx((2 + 3) / 2 * 2 + (2 + 4) / 2, abs=1e-12)


def test_free_places_are_filled_during_a_round_by_clients_that_have_not_finished_in_it():
    clients = Clients(FedBuff(buffer=3, concurrency=2), 5, {2: 1.0, 3: 5.0, 4: 1.0, 5: 1.0})
    assert clients.update()[0] == [2, 4, 5]  # at 1, 2 and 3 s, one after the other
    assert clients.strategy.clock_s == 3.0
    assert [flight[2] for flight in clients.strategy.flights] == [3]


def test_without_delays_more_clients_than_the_buffer_are_stale_by_what_waits():
    clients = Clients(FedBuff(buffer=2, concurrency=4), 4, dict.fromkeys(range(2, 6), 0.0))
    stale = [clients.update()[1]["staleness_max"] for _ in range(4)]
    assert stale == [0, 1, 1, 1]


def test_a_client_that_never_answers_gives_its_place_to_another():
    clients = Clients(FedBuff(buffer=2, concurrency=2), 4, {3: 9.0}, lost=(0,))
    nodes, _ = clients.update()
    assert nodes == [2, 4, 5]
    assert clients.w == pytest.approx((4 + 5) / 2)


def test_only_versions_that_somebody_trains_from_are_kept():
    clients = Clients(FedBuff(2, 4), 9, {2: 1000.0})
    for _ in range(30):
        clients.update()
    assert sorted(clients.strategy.versions) == sorted({f[3] for f in clients.strategy.flights})
    assert 0 in clients.strategy.versions and len(clients.strategy.versions) <= 3


def test_its_whole_state_can_be_saved_and_it_goes_on_from_there():
    clients = Clients(FedBuff(2, 4), 6, {2: 3.3, 3: 2.2, 4: 1.7})
    for _ in range(4):
        clients.update()
    saved = save_strategy(clients.strategy)
    assert saved.left_out == []
    twin = Clients(FedBuff(2, 4), 6, clients.durations, weights=clients.w, round=4)
    restore_strategy(twin.strategy, saved.tree, saved.arrays)
    for _ in range(5):
        assert clients.update() == twin.update()
        assert clients.w == twin.w


def test_a_stock_loop_runs_it():
    app = ClientApp()

    @app.train()
    def train(message, context):
        return answer(message)

    grid = InlineGrid(app, num_clients=5)
    start = ArrayRecord({"w": Array(np.zeros(1))})
    result = FedBuff(2, 2).start(grid=grid, initial_arrays=start, num_rounds=3)
    assert 3 * 2.5 <= result.arrays["w"].numpy()[0] <= 3 * 5.5


FAULTS = {
    "dropout": 0.1,
    "stragglers": {"fraction": 0.5, "delay_s": 2.0, "distribution": "exponential"},
}


@pytest.mark.parametrize("cohort", [3, 6])
def test_with_buffer_and_concurrency_as_the_cohort_and_no_delay_it_is_fedavg(train, cohort):
    section = {"cohort": cohort, "local": {"steps": 3}}
    average = train("mlp", rounds=4, federated=section)
    buffered = train("mlp", rounds=4, federated={**section, "strategy": {"name": "fedbuff"}})
    assert buffered.model == average.model
    assert buffered.metrics[-1]["train_loss"] == average.metrics[-1]["train_loss"]
    even = {"faults": {"stragglers": {"fraction": 1.0, "delay_s": 3.0}}}  # all take as long
    delayed = train("mlp", rounds=4, federated={**section, **even, "strategy": {"name": "fedbuff"}})
    assert delayed.model == average.model
    assert [line["virtual_round_s"] for line in delayed.metrics[1:]] == [3.0] * 4


def test_a_round_has_as_many_replies_as_the_buffer_whoever_gets_lost(train):
    strategy = {"name": "fedbuff", "buffer": 3, "concurrency": 5}
    section = {"strategy": strategy, "faults": FAULTS, "local": {"steps": 1}}
    run = train("logistic", clients=8, rounds=20, federated=section)
    rounds = run.metrics[1:]
    assert {line["clients"] for line in rounds} == {3}
    assert sum(line["clients_dropped"] for line in rounds) > 0
    assert max(line["train_staleness_max"] for line in rounds) > 1
    assert not run.said("not-in-checkpoint")


def test_it_takes_less_simulated_time_than_waiting_for_the_slowest(train):
    section = {"cohort": 4, "faults": {**FAULTS, "dropout": 0.0}, "local": {"steps": 1}}
    waiting = train("logistic", clients=12, rounds=10, federated=section)
    buffered = train(
        "logistic", clients=12, rounds=10, federated={**section, "strategy": {"name": "fedbuff"}}
    )
    took = [sum(line.get("virtual_round_s", 0) for line in r.metrics) for r in (waiting, buffered)]
    assert took[1] < 0.7 * took[0]


ONE_FAILS = """
from covey.federation.fedbuff import FedBuff

@client.train()
def train(msg, context):
    if context.node_config["partition-id"] < FAILING:
        raise RuntimeError("never")
    metrics = MetricRecord({"num-examples": 1})
    return Message(RecordDict({"arrays": msg.content["arrays"], "m": metrics}), reply_to=msg)

@server.main()
def main(grid, context):
    FedBuff(buffer=3, concurrency=3).start(grid, start, num_rounds=6)
"""


def test_failed_clients_are_made_up_for_by_others(train, write_app):
    section = {"round": {"attempts": 20}}
    app = write_app(ONE_FAILS.replace("FAILING", "2"))
    run = train(app, clients=6, rounds=6, federated=section)
    assert {line["clients"] for line in run.metrics} == {3}
    assert run.said("round-again")


def test_too_few_that_do_not_fail_end_the_job(create, write_app):
    section = {"round": {"attempts": 5}}
    app = write_app(ONE_FAILS.replace("FAILING", "2"))
    outcome = run_attempt(create(app, clients=4, rounds=6, federated=section))
    assert "of the 3 replies that it needs 2 came in 5 attempts" in outcome.error
