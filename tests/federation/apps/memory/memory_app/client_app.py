"""Clients with a memory: a velocity of their own and a count, kept in their context."""

import random

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(msg: Message, context: Context) -> Message:
    if context.node_config["partition-id"] == context.run_config["fail"]:
        raise RuntimeError("this client always fails")
    weights = msg.content["arrays"]["w"].numpy()
    state = context.state
    if "velocity" not in state:
        state["velocity"] = ArrayRecord({"v": Array(np.zeros_like(weights))})
        state["count"] = ConfigRecord({"turns": 0, "seen": [0.0], "tag": b"\x00\xff"})
    state["count"]["turns"] += 1
    # One draw from each generator, so that a resumed run shows at once if one was not put back.
    noise = np.random.normal(size=weights.shape) + random.random() + torch.rand(()).item()
    target = context.node_config["partition-id"] + 1
    velocity = 0.8 * state["velocity"]["v"].numpy() + (weights - target) + 0.1 * noise
    state["velocity"]["v"] = Array(velocity)
    state["count"]["seen"] = [*state["count"]["seen"][-3:], float(velocity.sum())]
    content = RecordDict(
        {
            "arrays": ArrayRecord({"w": Array(weights - 0.1 * velocity)}),
            "metrics": MetricRecord({"num-examples": target, "turns": state["count"]["turns"]}),
        }
    )
    return Message(content, reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context: Context) -> Message:
    distance = float(np.abs(msg.content["arrays"]["w"].numpy()).mean())
    metrics = MetricRecord({"distance": distance, "num-examples": 1})
    return Message(RecordDict({"metrics": metrics}), reply_to=msg)
