"""Clients whose randomness comes from the message alone: the same wherever they run."""

import os
import time
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(msg: Message, context: Context) -> Message:
    client = context.node_config["partition-id"]
    if client == context.run_config["fail"]:
        raise RuntimeError("this client always fails")
    if context.run_config["meet"]:
        wait_to_be_killed(Path(context.run_config["meet"]))
    generator = np.random.default_rng([msg.content["config"]["server-round"], client])
    arrays = {
        name: Array((0.5 * value.numpy() + generator.normal(size=value.shape)).astype(value.dtype))
        for name, value in msg.content["arrays"].items()
    }
    metrics = MetricRecord(
        {"num-examples": client + 1, "partitions": context.node_config["num-partitions"]}
    )
    return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics}), reply_to=msg)


def wait_to_be_killed(meeting: Path) -> None:
    """The first client that comes says so and waits; all others pass."""
    try:
        (meeting / "here").touch(exist_ok=False)
    except FileExistsError:
        return
    (meeting / "pid").write_text(str(os.getppid()))
    time.sleep(600)
