"""The built-in clients' training, whose gradients are derived by hand, against autograd."""

import pytest
import torch
from flwr.app import Array, ArrayRecord
from torch.nn.functional import cross_entropy

from covey.federation.apps import local_sgd
from covey.federation.apps.batched import Beside
from covey.federation.apps.models import make_model
from covey.federation.apps.settings import Settings
from covey.federation.sample_spec import ImageSize

IMAGE = ImageSize(6, 5, 2)
PIXELS, CLASSES, RATE, MU = 60, 3, 0.2, 0.7


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    torch.manual_seed(4)
    images, labels = torch.randn(50, PIXELS), torch.randint(0, CLASSES, (50,))

    class Spec:
        image = IMAGE

    class Data:
        spec = Spec

    monkeypatch.setattr(local_sgd, "tensors", lambda name: (images, labels, None, None))
    monkeypatch.setattr(local_sgd, "load", lambda name: Data)
    return images, labels


def settings_of(model, batch_size):
    names = {name: field.default for name, field in Settings.__dataclass_fields__.items()}
    return Settings(
        **{
            **names,
            "model": model,
            "epochs": 2,
            "steps": 0,
            "batch_size": batch_size,
            "learning_rate": RATE,
        }
    )


def alone(model, plan, small_data, mu, correction):
    """One client by plain torch: autograd of cross-entropy and mu/2 |w - start|^2."""
    images, labels = small_data
    parameters = dict(model.named_parameters())
    start = {name: one.detach().clone() for name, one in parameters.items()}
    losses, first = [], 0
    for size in plan.sizes:
        batch = plan.order[first : first + size]
        first += size
        loss = cross_entropy(model(images[batch]), labels[batch])
        pull = sum(((one - start[name]) ** 2).sum() for name, one in parameters.items())
        gradients = torch.autograd.grad(loss + mu / 2 * pull, list(parameters.values()))
        with torch.no_grad():
            for (name, one), gradient in zip(parameters.items(), gradients, strict=True):
                one.sub_(RATE * (gradient + correction.get(name, 0.0)))
        losses.append(float(loss.detach()))
    return parameters, sum(losses) / len(losses)


@pytest.mark.parametrize("added", ["nothing", "proximal", "corrections"])
@pytest.mark.parametrize("name", ["logistic", "mlp", "cnn"])
@pytest.mark.parametrize("parts", [(3, 17, 8), (10, 10, 10), (20, 20)], ids=str)
def test_clients_learn_what_autograd_would_teach_them(small_data, name, parts, added):
    """Of different and of equal sizes, the first one with least to do."""
    settings = settings_of(name, 5)
    model = make_model(name, PIXELS, CLASSES, IMAGE)
    received = ArrayRecord({key: Array(own.numpy()) for key, own in model.state_dict().items()})
    plans = [local_sgd.minibatches(torch.randperm(50)[:size], settings) for size in parts]
    corrections = [
        {key: 0.1 * torch.randn_like(own) for key, own in model.named_parameters()} for _ in parts
    ]
    stacked = {
        key: torch.stack([one[key].detach() for one in corrections]) for key in corrections[0]
    }
    beside = {
        "nothing": Beside(),
        "proximal": Beside(MU),
        "corrections": Beside(corrections=stacked),
    }[added]
    found = local_sgd.train(settings, received, plans, beside)
    assert [one.steps for one in found] == [len(plan.sizes) for plan in plans]
    for place, (plan, trained) in enumerate(zip(plans, found, strict=True)):
        model.load_state_dict(received.to_torch_state_dict())
        correction = corrections[place] if added == "corrections" else {}
        mu = MU if added == "proximal" else 0.0
        parameters, loss = alone(model, plan, small_data, mu, correction)
        assert trained.loss == pytest.approx(loss, rel=1e-5)
        for key, one in parameters.items():
            own = torch.from_numpy(trained.arrays[key].numpy())
            torch.testing.assert_close(own, one.detach(), rtol=1e-4, atol=2e-5)
