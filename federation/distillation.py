"""Teach a model on unlabelled samples what another classifier says of them (Lin et al. 2020,
algorithm 1, lines 10 to 14).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax, softmax
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from covey.federation.lesson import Adam, one_torch_thread

PIECE = 1000
"""Samples that the teacher is asked about at once."""


@dataclass(frozen=True)
class Distillation:
    """`learning_rate` is that of the first step; from there it goes to 0 along half a cosine, as in
    the released code.
    """

    steps: int
    batch: int
    learning_rate: float


def distil(
    student: nn.Module, teacher: Callable[[Tensor], Tensor], images: Tensor, told: Distillation
) -> float:
    """Train the student in place, by a new Adam, on minibatches of images [N, pixels]. Returns the
    mean over all steps of the teacher's divergence KL(teacher || student) before the step, in nats.

    Draws from torch's own generator; the same numbers however many threads torch has.
    """
    with one_torch_thread():
        drawn = torch.randint(len(images), (told.steps, told.batch))
        # The teacher does not change meanwhile: it is asked once about a sample.
        needed, places = torch.unique(drawn, return_inverse=True)
        pieces = torch.split(images[needed], PIECE)
        targets = softmax(torch.cat([teacher(piece) for piece in pieces]), 1)
        parameters = list(student.parameters())
        flat = parameters_to_vector(parameters).detach()
        vector_to_parameters(flat, parameters)  # from now on they are parts of `flat`
        adam = Adam.of({}, len(flat))
        student.train()
        total = 0.0
        for step, (batch, place) in enumerate(zip(drawn, places, strict=True)):
            said = log_softmax(student(images[batch]), 1)
            loss = kl_div(said, targets[place], reduction="batchmean")
            gradients = torch.autograd.grad(loss, parameters)
            rate = told.learning_rate * (1 + math.cos(math.pi * step / told.steps)) / 2
            adam.step(flat, torch.cat([one.reshape(-1) for one in gradients]), rate, 0.0)
            total += loss.item()
    return total / told.steps
