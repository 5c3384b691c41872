"""What FedDistill's clients do: tell their mean logits by label, and learn from everybody's."""

from collections.abc import Callable

import torch
from flwr.app import RecordDict
from torch import Tensor

from covey.federation.apps.minibatches import Hints
from covey.federation.feddistill import LABELS, LOGITS
from covey.federation.numpy_array import numbers_of


def hints_of(content: RecordDict) -> Callable[[int, Tensor], Hints | None] | None:
    """How a message's logits draw each step's samples, by their labels [C, B]; None if it brings
    none. Samples of labels that nobody has told of are left alone.
    """
    if LOGITS not in content:
        return None
    record = content.array_records[LOGITS]
    arrays = (numbers_of(record[name]).copy() for name in ("logits", "known"))
    logits, known = map(torch.from_numpy, arrays)
    examples, weight = torch.softmax(logits, 1), content.config_records["config"][LOGITS]
    assert isinstance(weight, float)
    weights = weight * known

    def hints(_step: int, labels: Tensor) -> Hints:
        return Hints(weights[labels].unsqueeze(1), examples[labels].transpose(1, 2), latents=False)

    return hints


def logits_told(tally: Tensor, met: Tensor) -> dict[str, list[float]]:
    """What a reply says of its labels: which it has met in training, and their mean logits. `tally`
    [classes, classes]: the sums, by label; `met` [classes]: how many samples they are of.
    """
    means = tally / met.clamp(min=1).unsqueeze(1)
    return {LABELS: (met > 0).double().tolist(), LOGITS: means.double().flatten().tolist()}
