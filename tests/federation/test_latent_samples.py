"""What is measured of a generator's latents, and told of them in `latents.json`."""

import json
import math

import pytest
import torch

from covey.federation.latent_generator import Generator, Shape
from covey.federation.latent_samples import (
    MOST_LABELS,
    MOST_POINTS,
    LatentSamples,
    latents_table,
    principal_plane,
)
from covey.federation.lesson import Heads, Lesson, teach

CLASSES, LATENT = 4, 12


def samples(latents):
    latents = torch.tensor(latents, dtype=torch.float32)
    return LatentSamples(torch.arange(len(latents)), latents)


def heads_of(classes=CLASSES):
    torch.manual_seed(1)
    shares = torch.full((3, classes), 1 / 3)
    return Heads(torch.randn(3, classes, LATENT), torch.randn(3, classes), shares)


def generator_of(classes=CLASSES):
    torch.manual_seed(2)
    return Generator(Shape(classes, LATENT, noise=8, hidden=32, rectified=True))


def test_spread_is_the_distance_within_a_label_over_the_length():
    assert samples([[[3.0, 4.0], [3.0, 4.0]], [[0.0, 1.0], [0.0, 1.0]]]).spread() == 0
    assert samples([[[0.0, 2.0], [2.0, 0.0]]]).spread() == pytest.approx(math.sqrt(2))
    # Distances 2 and 0, lengths 1, 1, 3 and 3; other labels' latents do not count.
    two = [[[-1.0, 0.0], [1.0, 0.0]], [[0.0, 3.0], [0.0, 3.0]]]
    assert samples(two).spread() == pytest.approx(1 / 2)
    assert samples([[[0.0, 0.0], [0.0, 0.0]]]).spread() == 0, "of latents that are all zero"


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_spread_has_no_unit_and_sees_the_smallest_of_differences(scale):
    near = scale * (torch.ones(1, 30, 5) + 1e-5 * torch.randn(1, 30, 5))
    found = LatentSamples(torch.zeros(1).long(), near).spread()
    assert found == pytest.approx(1e-5 * math.sqrt(2), rel=0.2)


def test_accuracy_is_of_the_mean_of_the_logits():
    """The first head takes all for label 0, the second, which is surer, finds the right ones."""
    weight = torch.tensor([[[1.0, 1.0], [0.0, 0.0]], [[9.0, 0.0], [0.0, 9.0]]])
    heads = Heads(weight, torch.zeros(2, 2), torch.ones(2, 2))
    made = samples([[[1.0, 0.0], [2.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]])
    assert made.taken(heads).tolist() == [[0, 0], [1, 0]]
    assert made.accuracy(heads) == made.accuracy(heads.mean()) == 0.75


def test_the_plane_is_that_in_which_the_points_differ_most():
    torch.manual_seed(4)
    flat = torch.randn(300, 2) * torch.tensor([5.0, 2.0])
    turn, _ = torch.linalg.qr(torch.randn(7, 7))
    rows = flat @ turn[:2] + 0.01 * torch.randn(300, 7) + 3.0
    points, share = principal_plane(rows)
    assert torch.allclose(torch.cdist(points, points), torch.cdist(rows, rows).double(), atol=0.1)
    assert float(share.sum()) == pytest.approx(1, abs=1e-4)
    assert share[0] > share[1] > 0.05
    for first in range(1, 6):
        other, _ = principal_plane(rows.roll(first, 0))
        assert torch.allclose(other.roll(-first, 0), points), "no picture flips from time to time"
    nothing, share = principal_plane(torch.ones(5, 7))
    assert not nothing.any() and not share.any()


@pytest.mark.parametrize("classes", [2, 10, 62])
def test_the_table_is_small_however_many_labels_there_are(classes):
    generator, drawn = generator_of(classes), torch.arange(classes)
    table = json.loads(latents_table(generator, heads_of(classes), drawn, "uniform", 3))
    assert table["labels"] == sorted(set(table["labels"]))
    assert len(table["labels"]) == min(classes, MOST_LABELS)
    points = [point for of_label in table["points"] for point in of_label]
    assert 200 <= len(points) <= MOST_POINTS
    assert len(json.dumps(table)) < 40_000
    assert (table["classes"], table["round"]) == (classes, 3)


def test_the_table_takes_no_random_numbers_and_is_always_of_the_same_noise():
    generator, drawn = generator_of(), torch.tensor([1, 3])
    before = torch.get_rng_state()
    tables = [latents_table(generator, heads_of_seeded(), drawn, "normal", 3) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert tables[0] == tables[1]
    assert json.loads(tables[0])["labels"] == [1, 3]


def heads_of_seeded():
    with torch.random.fork_rng(devices=[]):
        return heads_of()


def test_the_table_says_what_each_sample_is_taken_for():
    generator, heads, drawn = generator_of(), heads_of(), torch.arange(CLASSES)
    lesson = Lesson(300, 32, 3e-3, 1.0, 1e-2, 1.0, "mean", "uniform")

    def right():
        table = json.loads(latents_table(generator, heads, drawn, "uniform", 1))
        found = torch.tensor(table["taken"]) == torch.tensor(table["labels"]).unsqueeze(1)
        return float(found.float().mean())

    assert right() < 0.6
    teach(generator, {}, heads, torch.ones(CLASSES), lesson, 1)
    assert right() > 0.95
