from pathlib import Path

import numpy as np
import pytest
from flwr.serverapp.strategy import (
    DifferentialPrivacyServerSideFixedClipping,
    FedAvg,
    FedMedian,
    Strategy,
)
from safetensors.numpy import load

from covey.federation.flower_internals import become_server
from covey.federation.sampling import refuse_endless_wait, set_cohort
from covey.federation.workload import WORKLOAD
from covey.platform.driver import run_attempt
from covey.platform.errors import UserError
from covey.platform.runs.run import Run


def test_a_stock_app_folder_runs_unchanged(train):
    run = train("quickstart", clients=5, rounds=4)
    assert run.result["metrics"]["accuracy"] > 0.6
    last = run.metrics[-1]
    assert {"train_loss", "client_eval_acc", "client_eval_loss", "loss", "clients"} <= set(last)
    assert (run.path / "app" / "final_model.pt").exists()
    assert set(load(run.model)) >= {"features.1.num_batches_tracked", "out.weight"}


def test_the_job_decides_the_number_of_rounds_and_says_so(train):
    run = train("memory", rounds=2)
    assert run.result["step"] == 2
    assert run.said("rounds") == ["the app asks for 12 rounds, stop.rounds says 2"]


def test_without_stop_rounds_the_app_decides(train):
    run = train("memory", stop={"accuracy": 1.0}, federated={"run_config": {"rounds": 4}})
    assert run.result["step"] == 4


def test_flowers_own_start_is_back_afterwards(train):
    before = Strategy.start
    train("memory", rounds=1)
    assert Strategy.start is before


def test_the_cohort_of_an_app_folder_can_be_set(train):
    run = train("memory", clients=8, rounds=2, federated={"cohort": 5})
    assert {line["clients"] for line in run.metrics[1:]} == {5}
    assert run.said("cohort")


def test_a_failing_client_is_named_and_the_round_goes_on(train):
    config = {"run_config": {"fail": 1}}
    run = train("memory", clients=2, rounds=2, federated={**config, "cohort": 2})
    assert run.metrics[-1]["clients_failed"] == 1
    assert "1 of 2 clients failed" in run.said("client-failed")[0]
    assert "this client always fails" in run.said("client-failed")[0]
    assert "always fails" in (run.path / "flower.log").read_text()


def test_a_round_in_which_all_fail_ends_the_run(create, tmp_path):
    path = create("quickstart", clients=2, federated={"run_config": {"batch-size": -1}})
    outcome = run_attempt(path)
    assert outcome.exit_status == 1
    assert "2 of 2 clients failed" in outcome.error


def test_a_server_with_a_loop_of_its_own_runs_and_says_that_it_cannot_resume(train):
    run = train("ownloop", clients=3, rounds=5)
    assert (run.path / "app" / "total.txt").read_text() == str(3 * (0 + 1 + 4))
    assert any("begins it anew" in line for line in run.said("own-loop"))


def test_a_server_with_a_loop_of_its_own_can_be_stopped(create):
    path = create("ownloop", clients=3, rounds=5)
    run = Run.claim(path)
    run.request_stop()
    assert WORKLOAD.run(run) == {}
    assert run.reason == "stop requested"
    assert not (path / "app" / "total.txt").exists()
    run.finish("stopped", {})


def test_a_stop_request_ends_with_a_checkpoint_that_goes_on(create, train):
    whole = train("memory", rounds=6)
    path = create("memory", rounds=6)
    run = Run.claim(path, on_report=lambda step, metrics: run.request_stop() if step == 3 else None)
    WORKLOAD.run(run)
    run.finish("stopped", {})
    assert (
        (path / "checkpoints" / "latest").resolve().name.endswith("4")
    )  # noticed after the next round
    assert run_attempt(path).state == "succeeded"
    assert (path / "checkpoints/latest/model.safetensors").read_bytes() == whole.model


def test_a_second_start_is_flowers_own(train, write_app):
    run = train(write_app(TRAIN + TWICE), clients=2, rounds=4)
    assert "a second Strategy.start cannot resume" in run.said("second-start")[0]
    assert (run.path / "app" / "rounds.txt").read_text() == "4 2"


TRAIN = """
@client.train()
def train(msg, context):
    metrics = MetricRecord({"num-examples": 1, "loss": 1.0, "train_loss": 2.0})
    return Message(RecordDict({"a": msg.content["arrays"], "m": metrics}), reply_to=msg)
"""
TWICE = """
@server.main()
def main(grid, context):
    counts = []
    for _ in range(2):
        result = FedAvg(fraction_evaluate=0.0).start(grid, start, num_rounds=2)
        counts.append(len(result.train_metrics_clientapp))
    Path("rounds.txt").write_text(" ".join(map(str, counts)))
"""


def test_an_apps_own_grid_around_ours_carries_the_messages(train, write_app):
    run = train(write_app(TRAIN + HALF), clients=4, rounds=3)
    assert (run.path / "app" / "calls.txt").read_text() == "3 6"
    assert [line["clients"] for line in run.metrics] == [2, 2, 2]
    assert run.said("own-grid") == ["what the app's Half keeps is in no checkpoint"]


HALF = """
class Half(Grid):
    def __init__(self, grid):
        self.grid, self.calls, self.sent = grid, 0, 0

    def set_run(self, run): self.grid.set_run(run)
    @property
    def run(self): return self.grid.run
    def create_message(self, *rest): return self.grid.create_message(*rest)
    def get_node_ids(self): return self.grid.get_node_ids()[::2]
    def push_messages(self, messages): return self.grid.push_messages(messages)
    def pull_messages(self, ids): return self.grid.pull_messages(ids)

    def send_and_receive(self, messages, *, timeout=None):
        messages = list(messages)
        self.calls += bool(messages)
        self.sent += len(messages)
        return self.grid.send_and_receive(messages, timeout=timeout)

@server.main()
def main(grid, context):
    half = Half(grid)
    FedAvg(fraction_evaluate=0.0).start(half, start, num_rounds=3)
    Path("calls.txt").write_text(f"{half.calls} {half.sent}")
"""


def test_queries_after_the_rounds_draw_the_same_after_a_resume(train, create, write_app):
    app = write_app(TRAIN + QUERY)
    whole = train(app, clients=2, rounds=4)
    path = create(app, clients=2, rounds=4)
    run = Run.claim(path, on_report=lambda step, metrics: run.request_stop() if step == 2 else None)
    WORKLOAD.run(run)
    run.finish("stopped", {})
    assert run_attempt(path).state == "succeeded"
    drawn = Path("app", "drawn.txt")
    assert (path / drawn).read_text() == (whole.path / drawn).read_text()


QUERY = """
@client.query()
def query(msg, context):
    return Message(RecordDict({"m": MetricRecord({"x": random.random()})}), reply_to=msg)

@server.main()
def main(grid, context):
    FedAvg(fraction_evaluate=0.0).start(grid, start, num_rounds=4)
    messages = [Message(RecordDict(), node, "query") for node in grid.get_node_ids()]
    replies = grid.send_and_receive(messages)
    Path("drawn.txt").write_text(str([reply.content["m"]["x"] for reply in replies]))
"""


def test_clients_figures_keep_a_name_each(train, write_app):
    run = train(write_app(TRAIN + TWICE), clients=2, rounds=1)
    assert run.metrics[-1]["train_loss"] == 1.0
    assert run.metrics[-1]["train_train_loss"] == 2.0


def test_waiting_for_clients_that_will_never_come_is_refused():
    with pytest.raises(UserError, match="FedAvg waits for 2 clients"):
        refuse_endless_wait(FedAvg(), 1)
    with pytest.raises(UserError, match=r"FedAvg waits for 20 clients \(fraction_train is 2.0\)"):
        refuse_endless_wait(FedAvg(fraction_train=2.0), 10)
    wrapped = DifferentialPrivacyServerSideFixedClipping(
        FedMedian(min_train_nodes=9), noise_multiplier=1.0, clipping_norm=1.0, num_sampled_clients=9
    )
    with pytest.raises(UserError, match="FedMedian waits for 9 clients"):
        refuse_endless_wait(wrapped, 8)
    refuse_endless_wait(wrapped, 9)


def test_a_cohort_is_set_in_the_wrapped_strategy():
    become_server()
    told = []
    inner = FedAvg(fraction_train=1.0)
    wrapped = DifferentialPrivacyServerSideFixedClipping(
        inner, noise_multiplier=1.0, clipping_norm=1.0, num_sampled_clients=3
    )
    set_cohort(wrapped, 3, lambda kind, text: told.append(text))
    assert max(int(1000 * inner.fraction_train), inner.min_train_nodes) == 3
    assert told == ["3 clients train in a round, as federated.cohort says"]
    assert np.isfinite(inner.fraction_train)
