"""Federated averaging that trains some of the clients, drawn anew in each round."""

import numpy as np
from flwr.app import Array, ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    fraction = context.run_config["fraction"]
    FedAvg(fraction_train=fraction, fraction_evaluate=0.0).start(
        grid,
        ArrayRecord({"w": Array(np.zeros((3, 4))), "b": Array(np.zeros(5, np.float32))}),
        num_rounds=context.run_config["rounds"],
    )
