"""Flower apps of a few lines, written into a folder."""

from pathlib import Path

HEAD = """
import numpy as np
from flwr.app import *
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

server, client = ServerApp(), ClientApp()

@server.main()
def main(grid, context):
    FedAvg().start(grid, ArrayRecord({"w": Array(np.zeros(3, np.float32))}))
"""
FAILS_AT_ONE = """
@client.train()
def train(message, context):
    number = context.node_config["partition-id"]
    if number == 1:
        raise RuntimeError("no disk")
    arrays = ArrayRecord({"w": Array(np.full(SIZE, number, np.float32))})
    metrics = MetricRecord({"num-examples": 5})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
"""
DESCENDS = """
server = ServerApp()

@server.main()
def main(grid, context):
    first = {"w": np.random.standard_normal(400).astype(np.float32), "rounds": np.zeros(1, int)}
    FedAvg().start(grid, ArrayRecord({name: Array(array) for name, array in first.items()}))

@client.train()
def train(message, context):
    number, arrays = context.node_config["partition-id"], message.content["arrays"]
    weights, rounds = arrays["w"].numpy(), arrays["rounds"].numpy() + 1
    before = context.state["before"]["w"].numpy() if "before" in context.state else 0 * weights
    velocity = weights - number + 0.1 * np.random.standard_normal(400).astype(np.float32)
    velocity += 0.5 * before
    context.state["before"] = ArrayRecord({"w": Array(velocity)})
    arrays = ArrayRecord({"w": Array(weights - 0.3 * velocity), "rounds": Array(rounds)})
    samples = 10 * (number + 1) + int(rounds[0])
    metrics = MetricRecord({"num-examples": samples, "loss": float(velocity @ velocity)})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

@client.evaluate()
def evaluate(message, context):
    away = np.abs(message.content["arrays"]["w"].numpy() - 1.5).mean()
    metrics = MetricRecord({"accuracy": float(np.exp(-away))})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
"""
"""To its own number: with steps drawn at random, momentum in its context, a count of rounds among
its arrays, and more samples in each round.
"""


def small_app(folder: Path, source: str) -> str:
    """The path of an app with that source under the folder."""
    package = folder / "small" / "small_app"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package.parent / "pyproject.toml").write_text(
        "[tool.flwr.app.components]\n"
        "serverapp = 'small_app.apps:server'\nclientapp = 'small_app.apps:client'\n"
    )
    (package / "apps.py").write_text(HEAD + source)
    return str(package.parent)
