"""Parts of the `peer-to-peer:` section: local steps, consensus, compressed and robust mixing."""

from typing import Annotated, Literal

from pydantic import Field

from covey.federation.section import LocalSection
from covey.platform.jobfile.model import Count, Positive, Section


class PeerLocalSection(LocalSection):
    """What a peer does between two exchanges. Either `epochs` or `steps`; 1 epoch if neither."""

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of the local steps. What has gathered stays with the peer, from round to round."""


class ConsensusSection(Section):
    """How p2pl comes to an agreement after the local steps."""

    steps: Count = 1
    """Exchanges a round."""
    damping: Annotated[float, Field(gt=0, le=2)] = 1.0
    """How far a step goes from the own vector to the weighted mean; 1 is to it."""


class RandomK(Section):
    """Weights drawn anew in each round; the receivers draw the same, so only values are sent."""

    kind: Literal["random-k"]
    fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.01, description="share of the weights that is sent, at 4 bytes each"
    )


class TrimmedMeanSection(Section):
    """The mean without the least and the greatest of each number."""

    kind: Literal["trimmed-mean"]
    trim: Count = Field(default=1, description="how many are left out on either side")


class ClippingSection(Section):
    """Neighbours' differences to the own vector, shortened to a radius (He et al. 2022)."""

    kind: Literal["self-centred-clipping"]
    radius: Positive | None = Field(
        default=None, description="null: the median of the exchange's distances"
    )
