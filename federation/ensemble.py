"""Clients' models as one classifier, by the mean of their logits (AVGLOGITS of Lin et al. 2020,
section 3).
"""

from collections.abc import Iterable, Sequence

import torch
from flwr.app import ArrayRecord, Message
from torch import Tensor, nn
from torch.func import functional_call

from covey.federation.records import records_in


class Ensemble:
    """`model` is any of their architecture; its own weights are not used. All are asked as they
    would be tested: with the statistics of a batch normalisation that each has kept.
    """

    def __init__(self, model: nn.Module, models: Sequence[ArrayRecord]) -> None:
        self._model = model.eval()
        self._states = [one.to_torch_state_dict() for one in models]

    def __call__(self, images: Tensor) -> Tensor:
        """Mean logits, [B, classes], through which no gradient goes."""
        # One after the other: torch.func.vmap over the stacked weights takes as long for linear
        # layers, and five times as long for convolutions.
        with torch.no_grad():
            logits = [functional_call(self._model, state, (images,)) for state in self._states]
        return torch.stack(logits).mean(0)


def trained_models(replies: Iterable[Message]) -> dict[int, ArrayRecord]:
    """The models that clients have sent, by node."""
    return {
        reply.metadata.src_node_id: records_in(reply.content, ArrayRecord)[0]
        for reply in replies
        if reply.has_content()
    }
