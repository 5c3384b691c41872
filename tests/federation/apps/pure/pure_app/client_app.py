"""The client side: made of the local training, with an evaluation beside it."""

import torch
from flwr.app import Context, Message, MetricRecord, RecordDict
from torch.func import functional_call

from covey.federation.local_client import client_app
from covey.federation.local_training import Client
from pure_app.task import local, net, share

app = client_app(local)


@app.evaluate()
def evaluate(msg: Message, context: Context) -> Message:
    node = context.node_config
    images, labels = share(Client(node["partition-id"], node["num-partitions"]))
    with torch.no_grad():
        weights = msg.content["arrays"].to_torch_state_dict()
        right = functional_call(net, weights, (images,)).argmax(1) == labels
    metrics = MetricRecord({"acc": right.double().mean().item(), "num-examples": len(labels)})
    return Message(RecordDict({"metrics": metrics}), reply_to=msg)
