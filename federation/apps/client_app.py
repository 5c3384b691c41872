"""The clients of the built-in apps: a stock Flower ClientApp."""

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import nn

from covey.federation.apps.models import spare_model
from covey.federation.apps.settings import Settings, settings_of
from covey.federation.apps.task import evaluate_held_out, held_out, partition, train
from covey.federation.data import load

app = ClientApp()


@app.train()
def train_locally(message: Message, context: Context) -> Message:
    """Train the received model on this client's own samples."""
    settings = settings_of(context)
    model = _received(message, settings)
    parts = partition(settings, int(context.node_config["num-partitions"]))
    mine = parts[int(context.node_config["partition-id"])]
    loss = train(model, mine, settings)
    metrics = MetricRecord({"loss": loss, "num-examples": len(mine)})
    records = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics})
    return Message(records, reply_to=message)


@app.evaluate()
def evaluate_locally(message: Message, context: Context) -> Message:
    """Measure the received model on what this client has held out. Nothing here is random."""
    settings = settings_of(context)
    model = _received(message, settings)
    parts = held_out(settings, int(context.node_config["num-partitions"]))
    mine = parts[int(context.node_config["partition-id"])]
    accuracy, loss = evaluate_held_out(model, mine, settings)
    metrics = MetricRecord({"accuracy": accuracy, "loss": loss, "num-examples": len(mine)})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


def _received(message: Message, settings: Settings) -> nn.Module:
    data = load(settings.data)
    model = spare_model(settings.model, data.pixels, data.classes, data.spec.image)
    model.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
    return model
