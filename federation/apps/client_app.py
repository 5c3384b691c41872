"""The clients of the built-in apps: a stock Flower ClientApp."""

from collections.abc import Callable

from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor, nn

from covey.federation.apps.guide import guide_of
from covey.federation.apps.local_sgd import (
    Trained,
    Work,
    beside_of,
    train,
    work_of,
)
from covey.federation.apps.models import spare_model
from covey.federation.apps.own_layers import OWN, own_layers
from covey.federation.apps.settings import Settings, compression_of, settings_of, strategy_of
from covey.federation.apps.task import (
    evaluate_held_out,
    evaluate_own,
    held_out,
    loss_on,
    partition,
)
from covey.federation.compression import CallNext, compress
from covey.federation.data import load
from covey.federation.fedgen import COUNTS
from covey.federation.packing import packing_of
from covey.federation.scaffold import CONTROL, STEPS, keep_control

app = ClientApp()

Metrics = dict[str, int | float | list[float]]
Parts = Callable[[Settings, int], tuple[Tensor, ...]]


def compress_as_told(message: Message, context: Context, call_next: CallNext) -> Message:
    """The mod of covey.federation.compression that the job names, if it does."""
    options = compression_of(str(context.run_config["compression"]))
    if options is None:
        return call_next(message, context)
    return compress(packing_of(options), message, context, call_next)


@app.train(mods=[compress_as_told])
def train_locally(message: Message, context: Context) -> Message:
    """Train the received model on this client's own samples."""
    settings = settings_of(context)
    mine = _own(partition, settings, context)
    metrics = told_before(message, context, mine)
    guide = guide_of(message.content)
    work = work_of(mine, settings, message.content, guide)
    received, beside = message.content.array_records["arrays"], beside_of([message], [context])
    own = own_layers(settings, context.state)
    (trained,) = train(settings, received, [work], beside, guide, [own])
    return reply_of(message, context, metrics | told_of(work), trained)


def told_of(work: Work) -> Metrics:
    """What a reply says of the labels that were trained on."""
    return {} if work.counts is None else {COUNTS: work.counts}


def told_before(message: Message, context: Context, mine: Tensor) -> Metrics:
    """What a reply says of the samples `mine` and of the model as it was received."""
    settings = settings_of(context)
    metrics: Metrics = {"num-examples": len(mine)}
    if strategy_of(settings).needs_loss_before:
        metrics["loss-before"] = loss_on(_received(message, context), mine, settings)
    return metrics


def reply_of(message: Message, context: Context, metrics: Metrics, trained: Trained) -> Message:
    """The reply with what came of the training; brings up to date what the client keeps."""
    metrics = {**metrics, **trained.told, "loss": trained.loss}
    if trained.own is not None:
        context.state[OWN] = trained.own
    if CONTROL in message.content.array_records:
        metrics[STEPS] = trained.steps
        time = trained.steps * settings_of(context).learning_rate
        received = message.content.array_records["arrays"]
        keep_control(message, context, received, trained.arrays, time)
    records = RecordDict({"arrays": trained.arrays, "metrics": MetricRecord(dict(metrics))})
    return Message(records, reply_to=message)


@app.evaluate()
def evaluate_locally(message: Message, context: Context) -> Message:
    """Measure the received model on what this client has held out; a model of its own, of which
    not all is shared, on the test samples. Nothing here is random.
    """
    settings = settings_of(context)
    model = _received(message, context)
    metrics: Metrics
    if strategy_of(settings).share == "all":
        mine = _own(held_out, settings, context)
        accuracy, loss = evaluate_held_out(model, mine, settings)
        metrics = {"accuracy": accuracy, "loss": loss, "num-examples": len(mine)}
    else:
        metrics = {**evaluate_own(model, _own(partition, settings, context), settings)}
    return Message(RecordDict({"metrics": MetricRecord(dict(metrics))}), reply_to=message)


def _own(parts: Parts, settings: Settings, context: Context) -> Tensor:
    of_all = parts(settings, int(context.node_config["num-partitions"]))
    return of_all[int(context.node_config["partition-id"])]


def _received(message: Message, context: Context) -> nn.Module:
    """The model, with the client's own layers if it has any."""
    settings = settings_of(context)
    data = load(settings.data)
    model = spare_model(settings.model, data.pixels, data.classes, data.spec.image, settings.hidden)
    state = message.content.array_records["arrays"].to_torch_state_dict()
    own = own_layers(settings, context.state)
    model.load_state_dict(state if own is None else {**state, **own.to_torch_state_dict()})
    return model
