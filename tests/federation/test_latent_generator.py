"""A generator learns latents from last layers alone."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from covey.federation.latent_generator import Generator, Shape, draw
from covey.federation.latent_samples import LatentSamples
from covey.federation.lesson import Asking, Heads, Lesson, descend, sameness, teach

CLASSES, LATENT = 4, 12
SHAPE = Shape(CLASSES, LATENT, noise=8, hidden=32, rectified=True)
LESSON = Lesson(
    steps=150,
    batch=32,
    learning_rate=3e-3,
    decay=0.98,
    weight_decay=1e-2,
    diversity=1.0,
    teacher="losses",
    noise="uniform",
)
EVERYBODY = torch.full((CLASSES,), 0.25)


def heads_of(clients=3):
    """Of clients that agree but for a little."""
    torch.manual_seed(1)
    weight, bias = torch.randn(CLASSES, LATENT), torch.randn(CLASSES)
    apart = 0.3 * torch.randn(clients, CLASSES, LATENT)
    shares = torch.full((clients, CLASSES), 1 / clients)
    return Heads(weight + apart, bias.expand(clients, -1), shares)


def ensemble_accuracy(generator, heads, labels=EVERYBODY):
    drawn = labels.nonzero().squeeze(1)
    return LatentSamples.of(generator, drawn, "uniform").accuracy(heads)


@pytest.mark.parametrize("teacher", ["losses", "mean"])
def test_what_it_makes_is_what_the_heads_take_for_the_label(teacher):
    heads, generator = heads_of(), Generator(SHAPE)
    before = ensemble_accuracy(generator, heads)
    lesson = Lesson(**{**vars(LESSON), "teacher": teacher})
    teach(generator, {}, heads, EVERYBODY, lesson, 1)
    assert before < 0.6
    assert ensemble_accuracy(generator, heads) > 0.95


def test_a_label_that_is_never_drawn_is_not_learnt_and_not_measured():
    heads, generator = heads_of(), Generator(SHAPE)
    some = torch.tensor([0.5, 0.5, 0.0, 0.0])
    teach(generator, {}, heads, some, LESSON, 1)
    assert ensemble_accuracy(generator, heads, some) > 0.95
    assert ensemble_accuracy(generator, heads) < 0.8


def test_without_the_term_for_diversity_latents_of_a_label_are_more_alike():
    alike = {}
    for diversity in (0.0, 5.0):
        heads, generator = heads_of(), Generator(SHAPE)
        lesson = Lesson(**{**vars(LESSON), "diversity": diversity, "steps": 400})
        teach(generator, {}, heads, EVERYBODY, lesson, 1)
        noise = draw("uniform", (256, SHAPE.noise))
        made = generator.latents(noise, torch.ones(256).long())
        alike[diversity] = float(sameness(torch.cdist(noise, noise).square(), made, SHAPE.noise))
    assert alike[5.0] < alike[0.0] - 0.1


def test_who_has_more_of_a_label_teaches_it():
    """Two clients that contradict each other about two labels, each with one of them."""
    weight, bias = torch.zeros(2, 2, LATENT), torch.zeros(2, 2)
    weight[0, 0, 0] = weight[0, 1, 1] = weight[1, 0, 1] = weight[1, 1, 0] = 3.0
    shares = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    shape = Shape(2, LATENT, noise=8, hidden=32, rectified=True)
    generator = Generator(shape)
    teach(generator, {}, Heads(weight, bias, shares), torch.ones(2), LESSON, 1)
    made = generator.latents(draw("uniform", (64, 8)), torch.arange(2).repeat(32))
    # Either label is what its own client takes for it: the first of the latent's numbers.
    assert (made[:, 0] > made[:, 1]).all()


class Network(torch.nn.Module):
    """The same generator of torch's own layers."""

    def __init__(self, generator):
        super().__init__()
        shape = generator.shape
        self.rectified = shape.rectified
        self.hidden = torch.nn.Linear(shape.noise + shape.classes, shape.hidden)
        self.norm = torch.nn.BatchNorm1d(shape.hidden)
        self.output = torch.nn.Linear(shape.hidden, shape.latent)
        self.load_state_dict(generator.parameters, strict=False)

    def forward(self, noise, labels):
        asked = torch.cat((noise, one_hot(labels, CLASSES)), 1)
        made = self.output(torch.relu(self.norm(self.hidden(asked))))
        return torch.relu(made) if self.rectified else made


def autograds_loss(heads, noise, latents, asked, teacher):
    """The lesson's loss as it is written in the paper, or the released code."""
    logits = torch.einsum("nl,kcl->knc", latents, heads.weight) + heads.bias.unsqueeze(1)
    if teacher == "mean":
        loss = cross_entropy(logits.mean(0), asked)
    else:
        each = torch.stack([cross_entropy(one, asked, reduction="none") for one in logits])
        loss = (heads.shares[:, asked] * each).sum(0).mean()
    apart = (noise.unsqueeze(0) - noise.unsqueeze(1)).square().mean(2)
    different = (latents.unsqueeze(0) - latents.unsqueeze(1)).abs().mean(2)
    return loss + LESSON.diversity * torch.exp(-(apart * different).mean())


@pytest.mark.parametrize("rectified", [True, False])
@pytest.mark.parametrize("teacher", ["losses", "mean"])
def test_a_lesson_is_what_autograd_and_torchs_adam_would_teach(teacher, rectified):
    heads, shape = heads_of(), replace(SHAPE, rectified=rectified)
    heads = replace(heads, shares=torch.softmax(torch.randn(3, CLASSES), 0))
    generator = Generator(shape)
    network = Network(generator).train()
    lesson = replace(LESSON, teacher=teacher, steps=12)
    adam = torch.optim.Adam(
        network.parameters(), lesson.learning_rate, weight_decay=lesson.weight_decay
    )
    torch.manual_seed(9)
    teach(generator, {}, heads, EVERYBODY, lesson, 1)
    torch.manual_seed(9)
    count = lesson.steps * lesson.batch
    labels = torch.multinomial(EVERYBODY, count, replacement=True).view(lesson.steps, -1)
    drawn = draw(lesson.noise, (*labels.shape, shape.noise))
    for noise, asked in zip(drawn, labels, strict=True):
        adam.zero_grad()
        autograds_loss(heads, noise, network(noise, asked), asked, teacher).backward()
        adam.step()
    for name, own in network.named_parameters():
        torch.testing.assert_close(generator.parameters[name], own.detach(), rtol=1e-3, atol=1e-4)
    noise, labels = draw("normal", (50, SHAPE.noise)), torch.arange(50) % CLASSES
    with torch.no_grad():
        made = network.eval()(noise, labels)
    torch.testing.assert_close(generator.latents(noise, labels), made, rtol=1e-3, atol=1e-3)


def test_the_gradient_of_one_batch_is_autograds():
    torch.set_default_dtype(torch.float64)
    try:
        heads, generator = heads_of(), Generator(SHAPE)
        network = Network(generator).train()
        asked, noise = torch.arange(24) % CLASSES, draw("normal", (24, SHAPE.noise))
        flat = torch.zeros_like(generator.flat)
        gradient = SHAPE.views(flat)
        (asking,) = Asking.of(heads, noise.unsqueeze(0), asked.unsqueeze(0))
        descend(generator, heads, asking, LESSON.diversity, gradient)
        autograds_loss(heads, noise, network(noise, asked), asked, "losses").backward()
        for name, own in network.named_parameters():
            torch.testing.assert_close(gradient[name], own.grad, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(generator.mean, network.norm.running_mean)
        torch.testing.assert_close(generator.variance, network.norm.running_var)
    finally:
        torch.set_default_dtype(torch.float32)


def test_teaching_goes_on_from_the_optimisers_state():
    """Two rounds of it, in one go and with everything put away between them."""
    made = []
    for stored in (False, True):
        torch.manual_seed(3)
        heads, generator, adam = heads_of(), Generator(SHAPE), {}
        for number in (1, 2):
            adam = teach(generator, adam, heads, EVERYBODY, LESSON, number)
            if stored:
                kept = generator.state()
                with torch.random.fork_rng():
                    generator = Generator(SHAPE)
                generator.load(kept)
        made.append(generator.state())
    for name, own in made[0].items():
        assert torch.equal(own, made[1][name])
