"""A generator learns latents from last layers alone."""

import pytest
import torch

from covey.federation.latent_generator import (
    Generator,
    Heads,
    Lesson,
    Shape,
    draw,
    ensemble_accuracy,
    folded_latents,
    sameness,
    teach,
)

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


@pytest.mark.parametrize("teacher", ["losses", "mean"])
def test_what_it_makes_is_what_the_heads_take_for_the_label(teacher):
    heads, generator = heads_of(), Generator(SHAPE)
    before = ensemble_accuracy(generator.eval(), heads, EVERYBODY, "uniform")
    lesson = Lesson(**{**vars(LESSON), "teacher": teacher})
    teach(generator, {}, heads, EVERYBODY, lesson, 1)
    assert before < 0.6
    assert ensemble_accuracy(generator, heads, EVERYBODY, "uniform") > 0.95


def test_a_label_that_is_never_drawn_is_not_learnt_and_not_measured():
    heads, generator = heads_of(), Generator(SHAPE)
    some = torch.tensor([0.5, 0.5, 0.0, 0.0])
    teach(generator, {}, heads, some, LESSON, 1)
    assert ensemble_accuracy(generator, heads, some, "uniform") > 0.95
    assert ensemble_accuracy(generator, heads, EVERYBODY, "uniform") < 0.8


def test_without_the_term_for_diversity_latents_of_a_label_are_more_alike():
    alike = {}
    for diversity in (0.0, 5.0):
        heads, generator = heads_of(), Generator(SHAPE)
        lesson = Lesson(**{**vars(LESSON), "diversity": diversity, "steps": 400})
        teach(generator, {}, heads, EVERYBODY, lesson, 1)
        noise = draw("uniform", (256, SHAPE.noise))
        with torch.no_grad():
            alike[diversity] = float(sameness(noise, generator(noise, torch.ones(256).long())))
    assert alike[5.0] < alike[0.0] - 0.1


def test_who_has_more_of_a_label_teaches_it():
    """Two clients that contradict each other about two labels, each with one of them."""
    weight, bias = torch.zeros(2, 2, LATENT), torch.zeros(2, 2)
    weight[0, 0, 0] = weight[0, 1, 1] = weight[1, 0, 1] = weight[1, 1, 0] = 3.0
    shares = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    shape = Shape(2, LATENT, noise=8, hidden=32, rectified=True)
    generator = Generator(shape)
    teach(generator, {}, Heads(weight, bias, shares), torch.ones(2), LESSON, 1)
    with torch.no_grad():
        made = generator(draw("uniform", (64, 8)), torch.arange(2).repeat(32))
    # Either label is what its own client takes for it: the first of the latent's numbers.
    assert (made[:, 0] > made[:, 1]).all()


def test_the_folded_generator_is_the_generator():
    heads, generator = heads_of(), Generator(SHAPE)
    teach(generator, {}, heads, EVERYBODY, LESSON, 1)
    noise, labels = draw("normal", (50, SHAPE.noise)), torch.arange(50) % CLASSES
    with torch.no_grad():
        made = folded_latents(generator.folded(), noise, labels).relu()
        torch.testing.assert_close(made, generator(noise, labels), rtol=1e-4, atol=1e-5)


def test_teaching_goes_on_from_the_optimisers_state():
    """Two rounds of it, in one go and with everything put away between them."""
    made = []
    for stored in (False, True):
        torch.manual_seed(3)
        heads, generator, adam = heads_of(), Generator(SHAPE), {}
        for number in (1, 2):
            adam = teach(generator, adam, heads, EVERYBODY, LESSON, number)
            if stored:
                kept = {name: own.clone() for name, own in generator.state_dict().items()}
                with torch.random.fork_rng():
                    generator = Generator(SHAPE)
                generator.load_state_dict(kept)
        made.append(generator.state_dict())
    for name, own in made[0].items():
        assert torch.equal(own, made[1][name])
