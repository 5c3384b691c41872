"""The clients of the built-in apps: a stock Flower ClientApp."""

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from covey.federation.apps.models import spare_model
from covey.federation.apps.settings import settings_of
from covey.federation.apps.task import partition, train
from covey.federation.data import load

app = ClientApp()


@app.train()
def train_locally(message: Message, context: Context) -> Message:
    """Train the received model on this client's own samples."""
    settings = settings_of(context)
    data = load(settings.data)
    model = spare_model(settings.model, data.pixels, data.classes)
    model.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
    parts = partition(settings, int(context.node_config["num-partitions"]))
    mine = parts[int(context.node_config["partition-id"])]
    loss = train(model, mine, settings)
    metrics = MetricRecord({"loss": loss, "num-examples": len(mine)})
    records = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics})
    return Message(records, reply_to=message)
