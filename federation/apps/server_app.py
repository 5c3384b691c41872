"""The server of the built-in apps: a stock Flower ServerApp."""

from collections.abc import Callable

from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, Strategy

from covey.federation.apps.models import make_model
from covey.federation.apps.settings import Settings, settings_of
from covey.federation.apps.task import evaluate
from covey.federation.data import load
from covey.federation.fedbuff import FedBuff

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Average the clients' models, round after round, and test the average."""
    settings = settings_of(context)
    data = load(settings.data)
    model = make_model(settings.model, data.pixels, data.classes)

    def test(_round: int, arrays: ArrayRecord) -> MetricRecord:
        model.load_state_dict(arrays.to_torch_state_dict())
        accuracy, loss = evaluate(model, settings.data)
        return MetricRecord({"accuracy": accuracy, "loss": loss})

    STRATEGIES[settings.strategy](settings).start(
        grid, ArrayRecord(model.state_dict()), settings.rounds, evaluate_fn=test
    )


def _fedavg(settings: Settings) -> Strategy:
    # The minimum rules: a fraction of the clients, rounded down, could be one less.
    return FedAvg(
        fraction_train=1e-9,
        fraction_evaluate=0.0,
        min_train_nodes=settings.cohort,
        min_available_nodes=settings.cohort,
    )


def _fedbuff(settings: Settings) -> Strategy:
    return FedBuff(
        settings.buffer,
        settings.concurrency,
        settings.staleness_exponent,
        settings.server_learning_rate,
    )


STRATEGIES: dict[str, Callable[[Settings], Strategy]] = {"fedavg": _fedavg, "fedbuff": _fedbuff}
