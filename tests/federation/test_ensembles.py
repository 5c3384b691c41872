"""FedEnsemble and FedDF as strategies of jobs: their identities, their edges, what they refuse."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from safetensors.numpy import load as load_arrays
from torch import nn

from covey.federation.distillation import Distillation
from covey.federation.ensemble import Ensemble
from covey.federation.feddf import FedDF
from covey.federation.fedensemble import FedEnsemble, voters
from covey.federation.flower_internals import become_server, refused, reply_to
from covey.platform.errors import UserError

ATTEMPT = (
    "import sys; from pathlib import Path; from covey.platform.driver import run_attempt;"
    "sys.exit(run_attempt(Path(sys.argv[1])).exit_status)"
)
DATA = {"name": "digits", "partition": {"kind": "dirichlet", "alpha": 0.1}, "public": 0.1}
LOCAL = {"steps": 5, "batch_size": 16, "learning_rate": 0.05}
SECTION = {"cohort": 4, "data": DATA, "local": LOCAL}
NAMES = ["fedensemble", "feddf"]


def job(name, **options):
    return {**SECTION, "strategy": {"name": name, **options}}


def record(model):
    return ArrayRecord({name: Array(one.numpy()) for name, one in model.state_dict().items()})


def linear(weight, bias=(0.0, 0.0, 0.0)):
    model = nn.Linear(1, 3)
    model.load_state_dict({"weight": torch.tensor(weight)[:, None], "bias": torch.tensor(bias)})
    return model


def answered(model, node=2, samples=5):
    become_server()
    message = Message(RecordDict(), node, "train")
    metrics = MetricRecord({"num-examples": samples})
    return reply_to(message, RecordDict({"arrays": record(model), "metrics": metrics}))


def test_logits_are_added_up_and_not_votes():
    """Two of three models name class 0, barely; the third is sure of class 2."""
    close, sure = linear([1.0, 0.9, 0.0]), linear([0.0, 0.0, 3.0])
    ensemble = Ensemble(nn.Linear(1, 3), [record(close), record(close), record(sure)])
    logits = ensemble(torch.ones(1, 1))
    torch.testing.assert_close(logits, torch.tensor([[2 / 3, 0.6, 1.0]]))
    assert logits.argmax() == 2 and not logits.requires_grad


def test_models_with_a_normalisation_answer_as_when_they_are_tested():
    torch.manual_seed(0)
    models = [nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)) for _ in range(2)]
    for model in models:
        model(torch.randn(20, 3) * 5)  # leaves each with statistics of its own
    images = torch.randn(4, 3)
    spare = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    expected = sum(model.eval()(images) for model in models) / 2
    torch.testing.assert_close(
        Ensemble(spare, list(map(record, models)))(images), expected.detach()
    )


def test_the_newest_model_of_every_client_is_kept():
    strategy = FedEnsemble(FedAvg())
    first = record(linear([9.0, 9.0, 9.0]))
    assert voters(strategy, first) == [first] and voters(FedAvg(), first) is None
    one, two, three = (linear([k, 0.0, 0.0]) for k in (1.0, 2.0, 3.0))
    lost = refused(answered(two, node=4), "lost on the way")
    strategy.aggregate_train(1, [answered(two, node=7), answered(one, node=3), lost])
    strategy.aggregate_train(2, [answered(three, node=7)])
    assert list(strategy.models) == [3, 7]
    weights = [model["weight"].numpy()[0, 0] for model in voters(strategy, first)]
    assert weights == [1.0, 3.0]
    strategy.aggregate_train(3, [])
    assert list(strategy.models) == [3, 7]


def test_what_feddf_returns_is_the_average_after_a_lesson_of_these_clients():
    """With clients that say the opposite of each other, and one that says it louder."""
    clients = [linear([2.0, -1.0, 0.0]), linear([-6.0, 3.0, 0.0])]
    images = torch.tensor([[1.0], [-2.0]])
    average = linear([-4.0, 2.0, 0.0])
    told = Distillation(400, 8, 0.05)
    strategy = FedDF(FedAvg(), told, lambda: nn.Linear(1, 3), lambda: images)
    replies = [answered(clients[0]), answered(clients[1], node=3, samples=15)]
    arrays, _ = strategy.aggregate_train(1, replies)
    teacher = (clients[0](images) + clients[1](images)) / 2  # clients count alike here
    student = nn.Linear(1, 3)
    student.load_state_dict(arrays.to_torch_state_dict())

    def apart(model):
        target = torch.log_softmax(teacher, 1)
        said = torch.log_softmax(model(images), 1)
        return nn.functional.kl_div(said, target, log_target=True, reduction="batchmean").item()

    assert apart(student) < 0.01 < 0.1 < apart(average)
    assert strategy.figures["distillation_loss"] < apart(average)
    assert strategy.aggregate_train(2, []) == (None, None)


def test_fedensembles_training_is_fedavgs(train):
    run = train("mlp", clients=6, rounds=4, federated=job("fedensemble"))
    plain = train("mlp", clients=6, rounds=4, federated=SECTION)
    assert run.model == plain.model
    averages = [line["accuracy_average"] for line in run.metrics]
    assert averages == [line["accuracy"] for line in plain.metrics]
    assert run.metrics[0]["accuracy"] == averages[0]
    assert run.metrics[-1]["accuracy"] != averages[-1]


@pytest.mark.parametrize("app", ["logistic", "mlp", "cnn"])
def test_what_is_tested_is_the_sum_of_all_clients_logits(train, app):
    """After two rounds of four of six clients more than four have trained."""
    from covey.federation.apps.models import make_model
    from covey.federation.data import load

    run = train(app, clients=6, rounds=2, federated=job("fedensemble"))
    folder = run.path / "checkpoints" / "latest"
    saved = {}
    for file in folder.glob("*.safetensors"):
        saved |= load_arrays(file.read_bytes())
    nodes = {name.split(".")[1] for name in saved if name.startswith("models.")}
    assert len(nodes) > 4
    data, logits = load("digits"), 0
    for node in nodes:
        model = make_model(app, data.pixels, data.classes, data.spec.image)
        prefix = f"models.{node}."
        arrays = {
            name.removeprefix(prefix): torch.from_numpy(array)
            for name, array in saved.items()
            if name.startswith(prefix)
        }
        model.load_state_dict(arrays)
        with torch.no_grad():
            logits += model(torch.from_numpy(data.test_images))
    labels = torch.from_numpy(data.test_labels)
    last = run.metrics[-1]
    assert last["accuracy"] == pytest.approx(float((logits.argmax(1) == labels).double().mean()))
    loss = nn.functional.cross_entropy(logits / len(nodes), labels)
    assert last["loss"] == pytest.approx(float(loss), rel=1e-5)


@pytest.mark.parametrize("app", ["logistic", "mlp", "cnn"])
def test_feddf_teaches_every_model(train, app):
    taught = train(app, clients=6, rounds=2, federated=job("feddf", steps=5))
    assert taught.model != train(app, clients=6, rounds=2, federated=SECTION).model
    assert "distillation_loss" not in taught.metrics[0]
    assert all(line["distillation_loss"] > 0 for line in taught.metrics[1:])
    short = job("feddf", steps=5, learning_rate=1e-30)
    assert train(app, clients=6, rounds=2, federated=short).model != taught.model


def test_more_of_a_lesson_brings_the_model_nearer_to_its_teachers(train):
    """The mean over the steps is the lower the later most of them are."""
    losses = [
        train("mlp", clients=6, rounds=1, federated=job("feddf", steps=steps)).metrics[-1]
        for steps in (2, 200)
    ]
    assert losses[1]["distillation_loss"] < losses[0]["distillation_loss"] / 2


AVERAGES = ["fedprox", "fedadam", "scaffold"]


@pytest.mark.parametrize("average", AVERAGES)
def test_around_another_strategy(train, average):
    """Both begin with that strategy's model; FedEnsemble never leaves it."""
    inner = {"name": average}
    plain = train("mlp", clients=6, rounds=3, federated={**SECTION, "strategy": inner})
    run = train("mlp", clients=6, rounds=3, federated=job("fedensemble", average=inner))
    assert run.model == plain.model
    still = job("feddf", average=inner, learning_rate=1e-30)
    ours = load_arrays(train("mlp", clients=6, rounds=3, federated=still).model)
    for name, array in load_arrays(plain.model).items():
        assert abs(ours[name] - array).max() < 1e-6
    taught = load_arrays(
        train("mlp", clients=6, rounds=3, federated=job("feddf", average=inner)).model
    )
    assert abs(taught["output.weight"] - ours["output.weight"]).max() > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_packed_replies_are_whole_before_they_are_asked(train, name):
    section = {**job(name), "compression": {"kind": "top-k", "fraction": 1.0}}
    packed = train("mlp", clients=6, rounds=3, federated=section)
    whole = train("mlp", clients=6, rounds=3, federated=job(name))
    assert packed.model == whole.model
    assert packed.metrics[-1]["accuracy"] == whole.metrics[-1]["accuracy"]
    lossy = {**section, "compression": {"kind": "top-k", "fraction": 0.05}}
    other = train("mlp", clients=6, rounds=3, federated=lossy)
    assert np.isfinite(other.metrics[-1]["loss"]) and other.model != whole.model


def test_clients_that_are_lost_neither_teach_nor_vote(train):
    faults = {"faults": {"dropout": 0.4}, "round": {"attempts": 20}}
    for name in NAMES:
        run = train("mlp", clients=6, rounds=6, federated={**job(name), **faults})
        assert any(line.get("clients_dropped") for line in run.metrics)
        assert np.isfinite(run.metrics[-1]["loss"])


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("name", NAMES)
def test_actors_give_the_very_bytes_of_inline(train, create, name):
    inline = train("mlp", clients=6, rounds=3, federated=job(name))
    path = create("mlp", clients=6, rounds=3, federated={**job(name), "engine": "actors"})
    subprocess.run([sys.executable, "-c", ATTEMPT, str(path)], check=True)
    for part in ("model.safetensors", "strategy.safetensors"):
        latest = "checkpoints/latest"
        assert (path / latest / part).read_bytes() == (inline.path / latest / part).read_bytes()


PRIVATE = {"clipping": "fixed"}


@pytest.mark.parametrize(
    ("section", "told"),
    [
        (
            {**job("feddf"), "data": {"name": "digits"}},
            "federated.data.public: found 0, but the strategy teaches the model on samples that "
            "are no client's; write data: {public: 0.1, ...}",
        ),
        (job("feddf", steps=0), "federated.strategy.steps: found 0"),
        (job("fedensemble", steps=1), "federated.strategy.steps: unknown key"),
        (
            job("feddf", average={"name": "fedavgm"}),
            "federated.strategy.average.name: fedavgm goes on from its own last model",
        ),
        *(
            (
                {**job(name), "differential_privacy": PRIVATE},
                "federated.differential_privacy: covers the average of the clients' models",
            )
            for name in NAMES
        ),
        *(
            (job(name, average={"name": robust}), f"average.name: {robust} is there for clients")
            for name in NAMES
            for robust in ("krum", "multi-krum", "bulyan", "trimmed-mean", "median")
        ),
        *(
            (job(name, average={"name": "fedbuff"}), "average.name: fedbuff has no rounds")
            for name in NAMES
        ),
        *((job(name, average={"name": name}), "average") for name in NAMES),
        *(
            (
                {**job(name, average={"name": "scaffold"}), "compression": {"kind": "top-k"}},
                "federated.compression: cannot stand beside scaffold",
            )
            for name in NAMES
        ),
    ],
)
def test_what_cannot_be_is_refused(create, section, told):
    with pytest.raises(UserError) as error:
        create("mlp", federated=section)
    assert told in str(error.value) and "\n" not in str(error.value)
