"""The server of the built-in apps: a stock Flower ServerApp."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial

from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, Strategy
from torch import nn

from covey.federation.apps.client_evaluation import evaluate_on_clients
from covey.federation.apps.models import make_model, spare_model
from covey.federation.apps.own_layers import shared
from covey.federation.apps.settings import (
    Settings,
    compression_of,
    privacy_of,
    settings_of,
    strategy_of,
)
from covey.federation.apps.task import Logits, evaluate_seen, public_images
from covey.federation.compression import Restoring
from covey.federation.data import load
from covey.federation.ensemble import Ensemble
from covey.federation.fedensemble import voters
from covey.federation.noise import secret_noise, seeded_noise
from covey.federation.privacy import make_private
from covey.federation.strategies.options import Told

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Combine the clients' models, round after round, and test what comes of it."""
    settings = settings_of(context)
    data = load(settings.data)
    architecture = (settings.model, data.pixels, data.classes, data.spec.image, settings.hidden)
    model = make_model(*architecture)
    spare = partial(deepcopy, spare_model(*architecture))

    def test(_round: int, arrays: ArrayRecord) -> MetricRecord:
        model.load_state_dict(arrays.to_torch_state_dict())
        figures = tested(model)
        if (ensemble := voters(strategy, arrays)) is not None:
            average = figures["accuracy"]
            figures = {**tested(Ensemble(spare(), ensemble)), "accuracy_average": average}
        return MetricRecord(dict(figures))

    def tested(model: Logits) -> dict[str, float]:
        accuracy, loss, seen = evaluate_seen(model, settings, clients)
        return {"accuracy": accuracy, "loss": loss, "accuracy_seen_labels": seen}

    clients = len(list(grid.get_node_ids()))
    strategy = make_strategy(settings, clients, spare)
    whole = strategy_of(settings).share == "all"
    evaluate_on_clients(strategy, settings.evaluated if whole else clients)
    begin = shared(settings, ArrayRecord(model.state_dict()))
    # Where clients have models of their own there is nothing to measure without them.
    strategy.start(grid, begin, settings.rounds, evaluate_fn=test if whole else None)


def make_strategy(settings: Settings, population: int, spare: Callable[[], nn.Module]) -> Strategy:
    """The job's strategy, with what stands around it: compression outermost."""
    images = partial(public_images, settings)
    options = strategy_of(settings)
    rectified = settings.model != "strided-cnn"
    told = Told(settings.cohort, settings.learning_rate, rectified, spare, images)
    strategy = options.build(told)
    privacy = privacy_of(settings)
    if privacy is not None:
        assert isinstance(strategy, FedAvg)  # those that bear it are
        noise = seeded_noise if settings.deterministic else secret_noise
        strategy = make_private(strategy, privacy, settings.cohort, population, noise)
    strategy = options.around(strategy, told, privacy is not None)
    return Restoring(strategy) if compression_of(settings.compression) else strategy
