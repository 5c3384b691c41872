"""A server that draws random numbers of its own between rounds, as clients' sampling does."""

import random
import time

import numpy as np
from flwr.app import Array, ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import (
    DifferentialPrivacyServerSideAdaptiveClipping,
    FedAdam,
    FedAvg,
    FedAvgM,
)

app = ServerApp()
SOME = {"fraction_train": 0.5, "fraction_evaluate": 0.5}
STRATEGIES = {
    "fedavg": lambda: FedAvg(**SOME),
    "fedadam": lambda: FedAdam(**SOME),
    "fedavgm": lambda: FedAvgM(**SOME, server_momentum=0.9, server_learning_rate=0.5),
    "private": lambda: DifferentialPrivacyServerSideAdaptiveClipping(
        FedAvgM(**SOME, server_momentum=0.9),
        noise_multiplier=0.1,
        num_sampled_clients=3,
        clipped_count_stddev=0.5,
    ),
}


@app.main()
def main(grid: Grid, context: Context) -> None:
    def evaluate(number: int, arrays: ArrayRecord) -> MetricRecord:
        time.sleep(0.01)  # a round long enough to be killed in
        return MetricRecord({"norm": float(np.linalg.norm(arrays["w"].numpy())) + random.random()})

    STRATEGIES[context.run_config["strategy"]]().start(
        grid,
        ArrayRecord({"w": Array(np.random.normal(size=(3, 4)))}),
        num_rounds=context.run_config["rounds"],
        evaluate_fn=evaluate,
    )
