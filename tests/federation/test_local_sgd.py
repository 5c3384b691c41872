"""The built-in clients' training, whose gradients are derived by hand, against autograd."""

from dataclasses import replace

import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from torch.nn.functional import cross_entropy

from covey.federation.apps import local_sgd
from covey.federation.apps.batched import Beside
from covey.federation.apps.guide import Guide
from covey.federation.apps.label_logits import hints_of
from covey.federation.apps.models import make_model
from covey.federation.apps.settings import Settings
from covey.federation.sample_spec import ImageSize

IMAGE = ImageSize(6, 5, 2)
PIXELS, CLASSES, RATE, MU = 60, 3, 0.2, 0.7
PLAIN = RecordDict({"config": ConfigRecord()})


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    torch.manual_seed(4)
    images, labels = torch.randn(50, PIXELS), torch.randint(0, CLASSES, (50,))

    class Spec:
        image = IMAGE

    class Data:
        spec = Spec
        classes = CLASSES

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
    model.train()
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
    return dict(model.state_dict()), sum(losses) / len(losses)


@pytest.mark.parametrize("added", ["nothing", "proximal", "corrections"])
@pytest.mark.parametrize("name", ["logistic", "mlp", "cnn", "strided-cnn"])
@pytest.mark.parametrize("parts", [(3, 17, 8), (10, 10, 10), (20, 20)], ids=str)
def test_clients_learn_what_autograd_would_teach_them(small_data, name, parts, added):
    """Of different and of equal sizes, the first one with least to do."""
    settings = settings_of(name, 5)
    model = make_model(name, PIXELS, CLASSES, IMAGE)
    received = ArrayRecord({key: Array(own.numpy()) for key, own in model.state_dict().items()})
    works = [local_sgd.work_of(torch.randperm(50)[:size], settings, PLAIN, None) for size in parts]
    plans = [work.plan for work in works]
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
    found = local_sgd.train(settings, received, works, beside)
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


GUIDE = {
    "probabilities": torch.tensor([0.2, 0.5, 0.3]),
    "latent_weight": 0.8,
    "distillation_weight": 1.3,
    "steps": 3,
    "batch": 4,
    "noise": "uniform",
    "rectified": True,
}
NOISE, UNITS = 6, 9


def guided_alone(model, work, guide, small_data):
    """FedGen's local loss by autograd: a step at a time, as its two terms are written."""
    images, labels = small_data
    model.train()
    parameters, first = dict(model.named_parameters()), 0
    for step, size in enumerate(work.plan.sizes):
        batch = work.plan.order[first : first + size]
        first += size
        logits = model(images[batch])
        loss = cross_entropy(logits, labels[batch])
        if step < guide.steps:

            def head(noise, asked):
                hidden = torch.cat((noise, torch.nn.functional.one_hot(asked, CLASSES)), 1)
                hidden = hidden @ guide.folded["hidden.weight"].t() + guide.folded["hidden.bias"]
                output = guide.folded["output.weight"], guide.folded["output.bias"]
                latents = torch.nn.functional.linear(torch.relu(hidden), *output)
                return model.output(torch.relu(latents) if guide.rectified else latents)

            noise, asked = work.draws.noise[step], work.draws.labels[step]
            loss = loss + guide.latent_weight * cross_entropy(
                head(noise[-guide.batch :], asked), asked
            )
            example = torch.softmax(head(noise[:size], labels[batch]), 1).detach()
            distance = torch.nn.functional.kl_div(
                torch.log_softmax(logits, 1), example, reduction="batchmean"
            )
            loss = loss + guide.distillation_weight * distance
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        with torch.no_grad():
            for one, gradient in zip(parameters.values(), gradients, strict=True):
                one.sub_(RATE * gradient)
    return dict(model.state_dict())


@pytest.mark.parametrize("name", ["mlp", "cnn", "strided-cnn"])
def test_clients_learn_from_a_generator_what_autograd_would_teach_them(small_data, name):
    settings, model = settings_of(name, 5), make_model(name, PIXELS, CLASSES, IMAGE)
    units = model.output.in_features
    folded = {
        "hidden.weight": torch.randn(UNITS, NOISE + CLASSES),
        "hidden.bias": torch.randn(UNITS),
        "output.weight": torch.randn(units, UNITS),
        "output.bias": torch.randn(units),
    }
    guide = Guide(folded, **{**GUIDE, "rectified": name != "strided-cnn"})
    received = ArrayRecord({key: Array(own.numpy()) for key, own in model.state_dict().items()})
    parts = [torch.randperm(50)[:size] for size in (3, 17, 8)]
    works = [local_sgd.work_of(part, settings, PLAIN, guide) for part in parts]
    found = local_sgd.train(settings, received, works, Beside(), guide)
    for work, trained in zip(works, found, strict=True):
        model.load_state_dict(received.to_torch_state_dict())
        for key, one in guided_alone(model, work, guide, small_data).items():
            own = torch.from_numpy(trained.arrays[key].numpy())
            torch.testing.assert_close(own, one.detach(), rtol=1e-4, atol=2e-5)


def distilled_alone(model, plan, logits, known, weight, small_data):
    """FedDistill's local loss by autograd, and the logits that are met on the way, by label."""
    images, labels = small_data
    model.train()
    parameters, first = dict(model.named_parameters()), 0
    met = {label: [] for label in range(CLASSES)}
    for size in plan.sizes:
        batch = plan.order[first : first + size]
        first += size
        found, asked = model(images[batch]), labels[batch]
        distance = torch.nn.functional.kl_div(
            torch.log_softmax(found, 1), torch.softmax(logits[asked], 1), reduction="none"
        )
        loss = cross_entropy(found, asked) + weight * (distance.sum(1) * known[asked]).sum() / size
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        with torch.no_grad():
            for one, gradient in zip(parameters.values(), gradients, strict=True):
                one.sub_(RATE * gradient)
        for row, label in zip(found.detach(), asked.tolist(), strict=True):
            met[label].append(row)
    return dict(model.state_dict()), {
        label: torch.stack(rows).mean(0) for label, rows in met.items() if rows
    }


@pytest.mark.parametrize("name", ["logistic", "mlp", "cnn", "strided-cnn"])
def test_clients_learn_from_logits_what_autograd_would_teach_them(small_data, name):
    settings, model = settings_of(name, 5), make_model(name, PIXELS, CLASSES, IMAGE)
    logits, known, weight = 3 * torch.randn(CLASSES, CLASSES), torch.tensor([1.0, 0.0, 1.0]), 0.7
    record = {"logits": Array(logits.numpy()), "known": Array(known.numpy())}
    content = RecordDict(
        {"config": ConfigRecord({"label-logits": weight}), "label-logits": ArrayRecord(record)}
    )
    received = ArrayRecord({key: Array(own.numpy()) for key, own in model.state_dict().items()})
    parts = [torch.randperm(50)[:size] for size in (3, 17, 8)]
    parts[0] = parts[0][:1]  # some labels are met by nobody here
    works = [local_sgd.work_of(part, settings, content, None) for part in parts]
    beside = Beside(hints=hints_of(content), tallies=True)
    for work, trained in zip(
        works, local_sgd.train(settings, received, works, beside), strict=True
    ):
        model.load_state_dict(received.to_torch_state_dict())
        arrays, met = distilled_alone(model, work.plan, logits, known, weight, small_data)
        for key, one in arrays.items():
            own = torch.from_numpy(trained.arrays[key].numpy())
            torch.testing.assert_close(own, one.detach(), rtol=1e-4, atol=2e-5)
        assert trained.told["logit-labels"] == [float(label in met) for label in range(CLASSES)]
        told = torch.tensor(trained.told["label-logits"]).view(-1, CLASSES)
        expected = [met.get(label, torch.zeros(CLASSES)) for label in range(CLASSES)]
        torch.testing.assert_close(told, torch.stack(expected), rtol=1e-4, atol=2e-5)


def test_label_counts_are_of_the_samples_that_are_trained_on(small_data):
    _, labels = small_data
    settings, part = settings_of("mlp", 5), torch.randperm(50)[:17]
    expected = (2 * torch.bincount(labels[part], minlength=CLASSES)).tolist()
    counts = {}
    for noise in (0.0, 5.0):
        asked = RecordDict({"config": ConfigRecord({"label-counts": noise})})
        counts[noise] = local_sgd.work_of(part, settings, asked, None).counts
    assert local_sgd.work_of(part, settings, PLAIN, None).counts is None
    assert counts[0.0] == expected
    assert counts[5.0] != expected


def test_noise_on_label_counts_is_laplaces():
    drawn = local_sgd.laplace(200_000, 3.0, None)
    assert float(drawn.mean()) == pytest.approx(0, abs=0.05)
    assert float(drawn.abs().mean()) == pytest.approx(3.0, rel=0.02)
    assert float(drawn.square().mean()) == pytest.approx(18.0, rel=0.05)


def test_a_client_that_does_not_shuffle_meets_one_label_after_the_other(small_data):
    _, labels = small_data
    settings = replace(settings_of("logistic", 4), order="by-label")
    mine = torch.randperm(len(labels))[:40]
    starts: set[int] = set()
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        plan = local_sgd.work_of(mine, settings, PLAIN, None, generator).plan
        met = labels[plan.order[:40]].tolist()
        assert sorted(plan.order[:40].tolist()) == sorted(mine.tolist())
        assert torch.equal(plan.order[40:], plan.order[:40])
        changes = sum(one != after for one, after in zip(met, met[1:] + met[:1], strict=True))
        assert changes == len(set(met))  # round in a circle, each label in one piece
        starts.add(met[0])
    assert len(starts) == CLASSES
