"""The Grid on actors: workers in threads that are lost whenever a test says so, and on Ray."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import thread_crew
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg
from thread_crew import ThreadCrew

from covey.federation import actor_grid
from covey.federation.client_actor import ClientActor, packed
from covey.federation.client_runner import Question
from covey.federation.grids import ActorGrid, InlineGrid
from covey.platform.errors import UserError
from covey.platform.runtime.crew import InlineCrew, WorkerLost

app = ClientApp()


@app.train()
def drift(message, context):
    """Moves the arrays by what is drawn, counts in its state, and sometimes fails."""
    config = message.content.config_records.get("config", {})
    if context.node_config["partition-id"] in config.get("failing", []):
        raise ArithmeticError("no luck")
    if config.get("dying") == [context.node_config["partition-id"]]:
        os.kill(os.getpid(), signal.SIGKILL)
    seen = context.state.setdefault("seen", MetricRecord({"times": 0}))
    seen["times"] += 1
    arrays = {
        name: Array(array.numpy() + np.random.standard_normal(array.shape) + torch.rand(()).item())
        for name, array in message.content["arrays"].items()
    }
    # Last: who is given up draws no number in the midst of another test of this process.
    if context.node_config["partition-id"] in config.get("slow", []):
        time.sleep(config["slow-s"])
    metrics = MetricRecord({"num-examples": 1 + seen["times"]})
    return Message(
        RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics}), reply_to=message
    )


START = ArrayRecord({"w": Array(np.zeros((3, 4))), "b": Array(np.ones(2, dtype=np.float32))})


def strategy_of(cohort):
    return FedAvg(1e-9, 0.0, min_train_nodes=cohort, min_available_nodes=cohort)


def trained(grid, rounds=4):
    """The global arrays' bytes after some rounds."""
    grid.round = None
    result = strategy_of(7).start(grid, START, rounds)
    return {name: array.data for name, array in result.arrays.items()}


def on_threads(actors=2, crew=None, **more):
    crew = crew or ThreadCrew()
    crew.close = lambda: None
    return ActorGrid(app, num_clients=9, actors=actors, seed=3, crew=crew, **more)


@pytest.fixture(autouse=True)
def same_server_draws():
    import random

    random.seed(0)


def asked(grid, *clients, **config):
    content = RecordDict({"arrays": START, "config": ConfigRecord(config)})
    nodes = grid.get_node_ids()
    return [Message(content, nodes[client], "train") for client in clients]


def failed(replies):
    return [reply.metadata.src_node_id - 2 for reply in replies if reply.has_error()]


def test_replies_are_in_the_order_of_the_messages_and_errors_name_their_clients():
    grid = on_threads(actors=1)
    replies = grid.send_and_receive(asked(grid, 4, 1, 8, 0, 3, failing=[1, 3]))
    assert [reply.metadata.src_node_id - 2 for reply in replies] == [4, 1, 8, 0, 3]
    assert failed(replies) == [1, 3]
    assert "no luck" in replies[1].error.reason
    assert sorted(grid.states) == [0, 4, 8]


def test_what_kills_every_process_is_given_up_and_the_others_are_answered():
    crew = ThreadCrew(clients=["answer"] * 3)  # the first three die over what they are asked
    noted = []
    grid = on_threads(actors=1, crew=crew, note=lambda *event: noted.append(event))
    replies = grid.send_and_receive(asked(grid, 0))
    assert failed(replies) == [0] and "3 processes died" in replies[0].error.reason
    assert grid.replaced == 3 and [kind for kind, _ in noted] == ["replaced"] * 3
    assert failed(grid.send_and_receive(asked(grid, 0, 1, 2))) == []


def test_no_client_is_blamed_for_actors_that_died_before_they_were_there(monkeypatch):
    monkeypatch.setattr(thread_crew.Worker, "begun", False)
    crew = ThreadCrew(clients=["answer"] * (actor_grid.STARTS - 1))
    grid = on_threads(actors=1, crew=crew)
    assert failed(grid.send_and_receive(asked(grid, 0))) == []
    assert grid.replaced == actor_grid.STARTS - 1
    crew.loses["clients"] = ["answer"] * (actor_grid.STARTS + 1)
    crew.workers["clients 0"][-1].loses = "answer"
    with pytest.raises(WorkerLost, match="clients 0 died"):
        grid.send_and_receive(asked(grid, 0))


def test_who_is_lost_with_an_actor_is_asked_again():
    crew = ThreadCrew(clients=["answer", None])
    grid = on_threads(actors=2, crew=crew)
    replies = grid.send_and_receive(asked(grid, *range(9)))
    assert len(replies) == 9 and not failed(replies)
    assert grid.replaced == 1


def test_after_the_time_limit_nobody_begins_and_who_hangs_is_replaced(monkeypatch):
    monkeypatch.setattr(actor_grid, "GIVE_UP_S", 0.2)
    grid = on_threads(actors=2)
    messages = asked(grid, *range(9), slow=[2], **{"slow-s": 300.0})
    began = time.monotonic()
    replies = grid.send_and_receive(messages, timeout=6.0)
    assert time.monotonic() - began < 60
    answered = {reply.metadata.src_node_id - 2 for reply in replies}
    assert 2 not in answered and len(answered) >= 4
    assert grid.replaced == 1
    assert len(grid.send_and_receive(asked(grid, *range(9)))) == 9


def test_those_before_one_that_hangs_are_not_lost_with_it():
    actor = ClientActor(lambda: app, 9, 3, {}, 1)
    questions = [
        Question(one.metadata.dst_node_id - 2, one, 1, RecordDict())
        for one in asked(InlineGrid(app, num_clients=9), 0, 1, 2, 3, slow=[2], **{"slow-s": 300.0})
    ]
    before, began = signal.getsignal(signal.SIGALRM), time.monotonic()
    returned = actor.answer(*packed(questions), time.time() + 6.0)
    assert time.monotonic() - began < 60
    assert [one.answer is not None for one in returned] == [True, True, False, False]
    assert [one.broken_off for one in returned] == [False, False, True, False]
    late = actor.answer(*packed(questions), time.time() - 5)
    assert not any(one.answer or one.broken_off for one in late)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_actor_that_has_broken_off_a_client_is_replaced():
    grid = on_threads(actors=1, crew=InlineCrew())  # in this thread, which can be broken off
    messages = asked(grid, 0, 1, slow=[1], **{"slow-s": 300.0})
    replies = grid.send_and_receive(messages, timeout=6.0)
    assert [reply.metadata.src_node_id - 2 for reply in replies] == [0]
    assert grid.replaced == 1
    assert len(grid.send_and_receive(asked(grid, 0, 1))) == 2


def test_an_app_that_cannot_be_opened_is_told_as_it_is():
    def broken():
        raise UserError("the app in /x is no app")

    class Refusing(ThreadCrew):
        def spawn(self, name, factory, *arguments):
            def make():
                class Raises:
                    def answer(self, *_):
                        broken()

                return Raises()

            return super().spawn(name, make)

    with pytest.raises(UserError, match="no app"):
        grid = on_threads(crew=Refusing())
        grid.send_and_receive(asked(grid, 0))


def test_it_needs_an_app_and_an_actor():
    with pytest.raises(ValueError, match="needs a client_app"):
        ActorGrid(num_clients=2, crew=ThreadCrew())
    with pytest.raises(ValueError, match="actors is 0"):
        on_threads(actors=0)


@pytest.mark.ray
def test_on_ray(tmp_path):
    path = [str(Path(__file__).parent), *sys.path]
    environment = {**os.environ, "COVEY_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(path)}
    script = "import test_actor_grid; test_actor_grid.on_ray()"
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


def on_ray():
    """The same bits as inline, with one, two and five actors; and with one that is killed."""
    import random

    from covey.platform.jobfile.model import Resources
    from covey.platform.runtime.direct_crew import DirectCrew
    from covey.platform.runtime.even_crew import EvenCrew

    random.seed(0)
    wanted = trained(InlineGrid(app, num_clients=9, seed=3))
    crew = DirectCrew(EvenCrew(Resources(cpus=2), 5, "local"))
    crew.close, close = lambda: None, crew.close
    for actors in (1, 2, 5):
        random.seed(0)
        with ActorGrid(app, num_clients=9, actors=actors, seed=3, crew=crew) as grid:
            assert trained(grid) == wanted
    random.seed(0)
    grid = ActorGrid(app, num_clients=9, actors=2, seed=3, crew=crew)
    grid.send_and_receive(asked(grid, *range(2)))  # both are there
    grid.states.clear()
    pid = crew.pids()["clients 0"]
    send, killed = grid.send_and_receive, []

    def disturbed(messages, **more):
        if not killed:
            killed.append(os.kill(pid, signal.SIGKILL))
        return send(messages, **more)

    grid.send_and_receive = disturbed
    assert trained(grid) == wanted
    assert grid.replaced == 1
    replies = send(asked(grid, 0, 1, 2, dying=[1]))
    assert failed(replies) == [1] and grid.replaced == 4
    close()
