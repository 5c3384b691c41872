"""Peers' local steps against torch's own optimiser, and one peer against all."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from covey.federation.apps.models import make_model
from covey.federation.p2p.task import Task, views
from covey.federation.p2p.training import Trainer

PARTS = {"kind": "quantity", "alpha": 1.0, "min_size": 12}


def task_of(parse, **keys) -> Task:
    keys = {"data": {"name": "digits", "partition": PARTS}, "peers": 4, **keys}
    return Task.of(parse(**keys))


def first(task: Task) -> np.ndarray:
    return np.stack([task.first(peer) for peer in range(task.section.peers)])


@pytest.mark.parametrize(
    "local", [{"epochs": 1, "momentum": 0.6}, {"steps": 7, "momentum": 0.9}, {"steps": 3}], ids=str
)
@pytest.mark.parametrize("app", ["logistic", "mlp", "cnn", "strided-cnn"])
def test_momentum_is_that_of_torch_and_stays_with_the_peer(parse, app, local):
    """Two rounds, between which the peers' vectors are moved, as by consensus."""
    task = task_of(
        parse, app=app, local={"batch_size": 10, "learning_rate": 0.05, **local},
        precision="float64",
    )  # fmt: skip
    params = first(task)
    trainer = Trainer(task, range(4))
    images, labels = task.training_data()
    models = [make_model(app, 64, 10, _image(task)).double() for _ in range(4)]
    rate = task.section.local.learning_rate
    momentum = task.section.local.momentum
    steppers = [torch.optim.SGD(model.parameters(), rate, momentum) for model in models]
    for round_ in (1, 2):
        for peer, model in enumerate(models):
            row = views(params[peer : peer + 1], task.shapes)
            model.load_state_dict({name: array[0] for name, array in row.items()})
        losses = trainer.train(params, round_, None)
        for peer, (model, stepper) in enumerate(zip(models, steppers, strict=True)):
            model.train()
            plan, begin, found = trainer._plan(peer, round_), 0, []
            for size in plan.sizes:
                some = plan.order[begin : begin + size]
                begin += size
                stepper.zero_grad()
                loss = cross_entropy(model(images[some]), labels[some])
                loss.backward()
                stepper.step()
                found.append(loss.item())
            expected = torch.cat([array.flatten() for array in model.state_dict().values()])
            np.testing.assert_allclose(params[peer], expected.numpy(), atol=1e-10)
            assert losses[peer] == pytest.approx(np.mean(found))
        params += 0.01


def _image(task: Task):
    from covey.federation.data import load

    return load("digits").spec.image


@pytest.mark.parametrize(("precision", "close"), [("float64", 1e-12), ("float32", 1e-5)])
def test_a_peer_alone_trains_as_among_all(parse, precision, close):
    local = {"epochs": 2, "batch_size": 10, "momentum": 0.5}
    task = task_of(parse, app="mlp", hidden=16, local=local, precision=precision, affinity=0.3)
    together, alone = first(task), first(task)
    pull = np.random.default_rng(0).normal(size=together.shape).astype(precision)
    trainers = [Trainer(task, [peer]) for peer in range(4)]
    everybody = Trainer(task, range(4))
    for round_ in (1, 2):
        everybody.train(together, round_, pull)
        for peer, trainer in enumerate(trainers):
            trainer.train(alone[peer : peer + 1], round_, pull[peer : peer + 1])
    np.testing.assert_allclose(alone, together, atol=close)


def test_affinity_leans_by_its_share_at_every_step(parse):
    """Its sum over a round does not depend on the number of steps; momentum does not gather it."""
    still = {"batch_size": 10, "learning_rate": 1e-12, "momentum": 0.5}
    for local in ({"steps": 3}, {"steps": 1}, {"epochs": 2}):
        task = task_of(parse, local={**still, **local}, affinity=0.3, precision="float64")
        params, before = first(task), first(task)
        pull = np.random.default_rng(0).normal(size=params.shape)
        Trainer(task, range(4)).train(params, 1, pull)
        np.testing.assert_allclose(params - before, 0.3 * pull, atol=1e-9)


def test_first_weights(parse):
    own = first(task_of(parse, start="independent"))
    assert len(np.unique(own[:, 0])) == 4
    common = first(task_of(parse, start="common"))
    assert (common == common[0]).all()
    again = first(task_of(parse, start="independent"))
    np.testing.assert_array_equal(own, again)
