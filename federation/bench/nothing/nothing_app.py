"""Clients that send back what they get, and a server that averages it."""

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

NUMBERS = 1000

server, client = ServerApp(), ClientApp()


@server.main()
def main(grid: Grid, context: Context) -> None:
    """All clients in every round; the job says how many rounds."""
    arrays = ArrayRecord({"w": Array(np.zeros(NUMBERS, np.float32))})
    FedAvg(fraction_evaluate=0.0).start(grid, arrays)


@client.train()
def nothing(message: Message, context: Context) -> Message:
    """Send it back."""
    metrics = MetricRecord({"num-examples": 1})
    content = RecordDict({"arrays": message.content["arrays"], "metrics": metrics})
    return Message(content, reply_to=message)
