"""The `compression:` part of a federated job: what clients send in the place of whole models."""

from typing import Annotated, Literal

from pydantic import Field

from covey.platform.jobfile.model import Section

MAX_BITS = 16


class TopK(Section):
    """The weights that changed most; the rest waits for a later round (Stich et al. 2018)."""

    kind: Literal["top-k"]
    fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.01, description="share of the weights that is sent, at 8 bytes each; 1 is all"
    )


class Quantised(Section):
    """The change of each weight as a whole number of few bits, between the least and the greatest
    of its array; what rounding left out waits for the next round (Karimireddy et al. 2019).
    """

    kind: Literal["quantised"]
    bits: Annotated[int, Field(ge=1, le=MAX_BITS)] = Field(default=8, description="of each number")


CompressionSection = Annotated[TopK | Quantised, Field(discriminator="kind")]
