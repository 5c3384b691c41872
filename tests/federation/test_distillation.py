"""The lesson of FedDF's server against one that is written out with torch's own tools."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import kl_div

from covey.federation.distillation import Distillation, distil

PIXELS, CLASSES = 6, 4


def models():
    torch.manual_seed(3)
    # A bias before a normalisation has no gradient; Adam would enlarge what rounding makes of it.
    student = nn.Sequential(
        nn.Linear(PIXELS, 5, bias=False), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, CLASSES)
    )
    return student, nn.Linear(PIXELS, CLASSES).requires_grad_(False)


def divergence(student, teacher, images):
    said = torch.log_softmax(student(images), 1)
    return kl_div(said, torch.softmax(teacher(images), 1), reduction="batchmean")


def test_it_is_what_autograd_and_torchs_adam_do():
    told = Distillation(steps=7, batch=5, learning_rate=0.03)
    student, teacher = models()
    images = torch.randn(9, PIXELS)
    torch.manual_seed(8)
    loss = distil(student, teacher, images, told)

    expected, _ = models()
    torch.manual_seed(8)
    drawn = torch.randint(9, (7, 5))
    adam = torch.optim.Adam(expected.parameters())
    losses = []
    for step, batch in enumerate(drawn):
        adam.param_groups[0]["lr"] = 0.03 * (1 + math.cos(math.pi * step / 7)) / 2
        adam.zero_grad()
        found = divergence(expected, teacher, images[batch])
        found.backward()
        adam.step()
        losses.append(found.item())
    assert loss == pytest.approx(sum(losses) / 7, rel=1e-5)
    for name, tensor in expected.state_dict().items():  # the statistics of its normalisation too
        torch.testing.assert_close(student.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)


def test_the_student_comes_to_say_what_the_teacher_says():
    student, teacher = models()
    images = torch.randn(2100, PIXELS)  # the teacher is asked about them in pieces
    student.eval()
    before = divergence(student, teacher, images).item()
    distil(student, teacher, images, Distillation(steps=300, batch=64, learning_rate=0.02))
    student.eval()
    assert divergence(student, teacher, images).item() < before / 5


def test_the_same_draws_teach_the_same():
    images = torch.randn(9, PIXELS)
    found = []
    for seed in (1, 1, 2):
        student, teacher = models()
        torch.manual_seed(seed)
        distil(student, teacher, images, Distillation(5, 4, 0.01))
        found.append(student[0].weight.tolist())
    assert found[0] == found[1] != found[2]
