"""The server side: a stock one."""

from flwr.app import ArrayRecord, ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, FedProx

from pure_app.task import Net

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    mu = context.run_config["proximal-mu"]
    strategy = FedProx(proximal_mu=mu) if mu else FedAvg()
    strategy.start(
        grid,
        ArrayRecord(Net().state_dict()),
        num_rounds=context.run_config["rounds"],
        train_config=ConfigRecord({"lr": 0.1}),
    )
