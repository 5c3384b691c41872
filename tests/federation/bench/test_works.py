"""Everybody begins alike, and the hand-written loops train what our engines train."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from typer.testing import CliRunner

from covey.federation.apps import client_app
from covey.federation.apps.settings import run_config_of
from covey.federation.bench.command import app
from covey.federation.bench.contenders import SCRIPTS, Setting, run_ours
from covey.federation.bench.flower_simulator import client_of, naming_shares
from covey.federation.bench.messages import CLIENTS, measure_messages, ms_a_message
from covey.federation.bench.metered import run_metered
from covey.federation.bench.opening import first_model_and_cohorts, write_opening
from covey.federation.bench.reading import reading
from covey.federation.bench.works import Work
from covey.federation.client_runner import ClientRunner
from covey.federation.grids import InlineGrid
from covey.platform.driver import run_attempt
from covey.platform.errors import UserError
from covey.platform.jobfile.model import JobFile

Parse = Callable[..., JobFile]


def test_the_opening_is_what_a_real_run_begins_with(
    parse: Parse, create: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    answer = ClientRunner.answer

    def watched(self, question):
        asked.append(question)
        return answer(self, question)

    monkeypatch.setattr(ClientRunner, "answer", watched)
    federated = {"federated": {"cohort": 3}}
    assert run_attempt(create("mlp", clients=20, rounds=4, **federated)).error is None
    arrays, cohorts = first_model_and_cohorts(parse("mlp", clients=20, rounds=4, **federated))
    assert cohorts.tolist() == [
        [question.client for question in asked if question.round == number]
        for number in (1, 2, 3, 4)
    ]
    sent = asked[0].message.content["arrays"]
    assert list(arrays) == list(sent)
    assert all(np.array_equal(arrays[name].numpy(), sent[name].numpy()) for name in sent)


def test_the_opening_says_whose_each_sample_is(parse: Parse, tmp_path: Path) -> None:
    partition = {"kind": "dirichlet", "alpha": 0.3}
    job = parse(clients=7, federated={"data": {"name": "digits", "partition": partition}})
    write_opening(job, tmp_path / "opening.npz")
    with np.load(tmp_path / "opening.npz") as opening:
        owner, weights = opening["owner"], opening["model/output.weight"]
    assert len(owner) == 1437 and set(owner) == set(range(7))
    assert weights.shape == (10, 64)


def test_the_simulators_clients_train_on_the_share_that_is_named(parse: Parse) -> None:
    """With one batch for all, the order of the samples counts for nothing."""
    job = parse(clients=4, federated={"local": {"epochs": 1, "batch_size": 400}})
    arrays, _ = first_model_and_cohorts(job)
    config = run_config_of(job)
    grid = InlineGrid(client_of(config), num_clients=4)

    def configure(number, nodes):
        content = RecordDict({"arrays": arrays, "config": ConfigRecord()})
        return [Message(content, node, "train") for node in nodes]

    asked = naming_shares(configure, [[3, 2]])(1, grid.get_node_ids()[:2])
    named = grid.send_and_receive(asked)
    plain = InlineGrid(client_app.app, num_clients=4, run_config=config)
    expected = plain.send_and_receive(configure(1, plain.get_node_ids()[:1:-1]))
    for one, other in zip(named, expected, strict=True):
        ours, theirs = (reply.content["arrays"]["output.weight"].numpy() for reply in (one, other))
        assert np.allclose(ours, theirs, atol=1e-6)
    assert not np.allclose(ours, arrays["output.weight"].numpy(), atol=1e-3)


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., dict[str, object]]:
    """Of a peer's script, for 28 by 28 images that are noise, in 5 unequal shares."""
    rng = np.random.default_rng(0)
    for name, count in (("train", 200), ("t10k", 1000)):
        images = rng.integers(0, 256, count * 784 + 16, np.uint8)
        images.tofile(tmp_path / f"{name}-images-idx3-ubyte")
        rng.integers(0, 10, count + 8, np.uint8).tofile(tmp_path / f"{name}-labels-idx1-ubyte")
    owner = rng.permutation(np.repeat(np.arange(5), [20, 30, 40, 50, 60]))

    def make(model: str, **rest: object) -> dict[str, object]:
        shapes = {"output.weight": (10, 784), "output.bias": (10,)}
        if model == "mlp":
            shapes = {"hidden.weight": (128, 784), "hidden.bias": (128,)}
            shapes |= {"output.weight": (10, 128), "output.bias": (10,)}
        weights = {
            f"model/{name}": rng.normal(0, 0.05, shape).astype(np.float32)
            for name, shape in shapes.items()
        }
        cohorts = np.array([[0, 3, 4], [1, 2, 4], [4, 1, 0]])
        np.savez(tmp_path / "start.npz", owner=owner, cohorts=cohorts, **weights)
        common = {"folder": str(tmp_path), "start": str(tmp_path / "start.npz"), "mean": 127.5}
        common |= {"deviation": 74.0, "seed": 3, "learning_rate": 0.1}
        return {**common, "model": model, **rest}

    return make


@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_both_hand_made_loops_train_the_same_model(settings, model: str) -> None:
    """With one batch for all samples of a client, the order of the samples counts for nothing."""
    of = settings(model, epochs=0, steps=6, batch_size=64)
    records = [
        run_metered(name, [sys.executable, str(SCRIPTS / f"{name}.py"), json.dumps(of)], 600).record
        for name in ("plain_loop", "hand_written")
    ]
    assert [record["rounds"] for record in records] == [3, 3]
    assert records[0]["accuracy"] == pytest.approx(records[1]["accuracy"], abs=0.003)
    assert all(0 < record["first_s"] < record["total_s"] for record in records)


def test_a_run_of_ours_is_read_like_that_of_a_peer(tmp_path: Path) -> None:
    local = {"epochs": 2, "batch_size": 16, "learning_rate": 0.1}
    work = Work("logistic", "", 6, 3, local, {"kind": "iid"}, rounds=4, data="digits")
    measured = run_ours(Setting(work, 4, 1, tmp_path / "opening.npz", tmp_path), "cohort")
    assert measured.record["rounds"] == 3
    one = reading(measured)
    assert one.accuracy > 0.8
    assert one.rounds_per_s > 0 and one.warm_rounds_per_s > 0
    assert 100 < one.peak_mb < 2000
    assert one.process_s > measured.record["total_s"]
    assert {one.name for one in tmp_path.iterdir()} <= {"home"}  # COVEY_HOME


def test_messages_that_do_nothing_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    reports = [{"step": 1, "wall_s": 0.5}, {"step": 2, "wall_s": 0.6}, {"step": 3, "wall_s": 0.9}]
    assert ms_a_message(reports) == pytest.approx(400 / (2 * CLIENTS))
    (found,) = measure_messages(times=1, rounds=3)
    assert 0 < found < 100


def test_missing_data_is_one_line_that_says_what_to_type() -> None:
    with pytest.raises(UserError, match="fetch it with: covey data get mnist"):
        words = "federated --work logistic --against none"
        CliRunner().invoke(app, words.split(), catch_exceptions=False)
