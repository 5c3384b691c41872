"""What FedGen is without one of its parts."""

from functools import partial

import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from covey.federation.apps.guide import guide_of
from covey.federation.fedgen import GENERATOR, FedGen, Guidance
from covey.federation.flower_internals import become_server, reply_to
from covey.federation.latent_generator import Generator, Shape, folded_latents
from covey.federation.latent_samples import LatentSamples
from covey.federation.lesson import Heads, Lesson
from covey.platform.errors import UserError

CLASSES, LATENT, NOISE = 4, 12, 5
SHAPE = partial(Shape, noise=NOISE, hidden=32, rectified=True)
LESSON = Lesson(50, 32, 1e-2, 1.0, 0.0, 1.0, "losses", "uniform")
DATA = {"name": "digits", "partition": {"kind": "dirichlet", "alpha": 0.1}}


def strategy_of(ablation):
    guidance = Guidance(1.0, 1.0, 1.0, 20, 8, 0.0)
    return FedGen(FedAvg(), guidance, LESSON, SHAPE, even=True, ablation=ablation)


def taught(ablation, rounds):
    """A strategy, and its generator after each of the rounds."""
    torch.manual_seed(3)
    strategy, seen = strategy_of(ablation), []
    for number in range(1, rounds + 1):
        strategy.aggregate_train(number, [answered(client) for client in (1, 2)])
        seen.append(strategy.generator)
    return strategy, seen


def answered(client):
    weight, bias = head_of(client)
    model = {"output.weight": Array(weight.numpy()), "output.bias": Array(bias.numpy())}
    metrics = MetricRecord({"num-examples": 5, "label-counts": [1.0] * CLASSES})
    become_server()
    message = Message(RecordDict(), 2, "train")
    return reply_to(message, RecordDict({"arrays": ArrayRecord(model), "metrics": metrics}))


def head_of(client):
    """Clients agree but for a little."""
    both, own = (torch.Generator().manual_seed(seed) for seed in (0, client))
    shape = CLASSES, LATENT
    weight = torch.randn(shape, generator=both) + 0.2 * torch.randn(shape, generator=own)
    return weight, torch.zeros(CLASSES)


def told(strategy):
    """What clients make of a round's message."""
    config = ConfigRecord()
    sent = strategy.tell(2, config)
    return guide_of(RecordDict({GENERATOR: sent, "config": config}))


def test_a_frozen_generator_stays_as_it_was_drawn_and_is_sent_all_the_same():
    strategy, seen = taught("frozen-generator", 3)
    torch.manual_seed(3)
    drawn = Generator(SHAPE(CLASSES, LATENT))
    for state in seen:
        assert all(torch.equal(state[name], own) for name, own in drawn.state().items())
    assert not strategy.adam
    for name, own in drawn.folded().items():
        assert torch.equal(told(strategy).folded[name], own)
    moved, own = taught(None, 2)
    assert moved.adam
    assert not torch.equal(own[0]["flat"], own[1]["flat"])


def test_the_accuracy_of_a_frozen_one_is_that_of_a_random_one():
    strategy, _ = taught("frozen-generator", 1)
    torch.manual_seed(3)
    drawn = Generator(SHAPE(CLASSES, LATENT))
    samples = LatentSamples.of(drawn, torch.arange(CLASSES), "uniform")
    weight, bias = (torch.stack(each) for each in zip(head_of(1), head_of(2), strict=True))
    heads = Heads(weight, bias, torch.full((2, CLASSES), 0.5))
    expected = {"generator_accuracy": samples.accuracy(heads), "generator_spread": samples.spread()}
    assert strategy.figures == pytest.approx(expected)
    assert strategy.figures["generator_accuracy"] < 0.6
    assert taught(None, 6)[0].figures["generator_accuracy"] > 0.9


def test_permuted_labels_send_for_a_label_what_is_made_for_the_next():
    strategy, _ = taught("permuted-labels", 2)
    plain, _ = taught(None, 2)
    own, sent = told(plain).folded, told(strategy).folded
    labels, noise = torch.arange(40) % CLASSES, torch.rand(40, NOISE)
    made = folded_latents(sent, noise, labels)
    assert torch.equal(made, folded_latents(own, noise, (labels + 1) % CLASSES))
    assert not torch.allclose(made, folded_latents(own, noise, labels))
    assert strategy.figures == plain.figures, "what the server learns and measures is the same"
    assert torch.equal(told(strategy).probabilities, told(plain).probabilities)


def test_clients_learn_the_wrong_from_permuted_labels(train):
    """On real digits; what the generator has learnt is right all the same."""
    last = {}
    for ablation in (None, "permuted-labels"):
        strategy = {"name": "fedgen", "generator_learning_rate": 3e-3, "ablation": ablation}
        section = {"cohort": 5, "engine": "cohort", "data": DATA, "strategy": strategy}
        section["local"] = {"steps": 20, "batch_size": 32, "learning_rate": 0.05}
        last[ablation] = train("mlp", clients=10, rounds=10, federated=section).metrics[-1]
    assert last[None]["accuracy"] > last["permuted-labels"]["accuracy"] + 0.1, last
    assert last["permuted-labels"]["generator_accuracy"] > 0.9


def test_without_diversity_a_long_lesson_leaves_one_latent_a_label(train):
    """On real digits: 0.27 falls to 0.02; with a strong term for diversity 0.38 falls to 0.08."""
    spread = {}
    for diversity in (0.0, 20.0):
        strategy = {"name": "fedgen", "generator_steps": 200, "diversity": diversity}
        section = {"cohort": 5, "engine": "cohort", "data": DATA, "strategy": strategy}
        run = train("mlp", clients=10, rounds=7, federated=section)
        spread[diversity] = [line["generator_spread"] for line in run.metrics[1:]]
    assert spread[0.0][-1] < 0.04 < 0.2 < spread[0.0][0], spread
    assert spread[20.0][-1] > 2.5 * spread[0.0][-1], spread


def test_an_ablation_that_there_is_none_of_is_refused(create):
    with pytest.raises(UserError, match=r"ablation.*frozen-generator"):
        create("mlp", federated={"strategy": {"name": "fedgen", "ablation": "frozen"}})
