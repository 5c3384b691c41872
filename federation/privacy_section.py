"""The `differential_privacy:` part of a federated job. Cheap to import."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from covey.platform.jobfile.model import Positive, Section


class _Privacy(Section):
    noise_multiplier: Positive = Field(
        default=1.0,
        description="deviation of the noise on the sum of the updates, in clipping norms",
    )
    delta: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=1e-5, description="the epsilon reported holds but for this probability"
    )
    max_epsilon: Positive | None = Field(
        default=None, description="training ends before a round that would spend more than this"
    )


class FixedClipping(_Privacy):
    """Updates longer than a fixed norm are shortened to it (McMahan et al. 2018, algorithm 1)."""

    clipping: Literal["fixed"]
    clipping_norm: Positive = Field(default=1.0, description="L2 norm of a client's whole update")


class AdaptiveClipping(_Privacy):
    """The norm follows a quantile of the updates' norms (Andrew et al. 2021, algorithm 1)."""

    clipping: Literal["adaptive"]
    initial_clipping_norm: Positive = Field(default=0.1, description="in the first round")
    target_quantile: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="share of the updates that is to be within the norm"
    )
    clipping_learning_rate: Positive = Field(
        default=0.2, description="how fast the norm follows: its logarithm changes by this at most"
    )
    count_deviation: Positive | None = Field(
        default=None,
        description="deviation of the noise on how many updates are within; by default cohort / 20",
    )

    def problem(self, cohort: int) -> str | None:
        """Why the noise cannot be split between the updates and the count of those within."""
        deviation = self.count_deviation or cohort / 20
        if self.noise_multiplier < 2 * deviation:
            return None
        return (
            f"found {self.noise_multiplier}, allowed is less than 2 * count_deviation = "
            f"{2 * deviation:g} (count_deviation is cohort / 20 unless told); raise count_deviation"
        )


PrivacySection = Annotated[FixedClipping | AdaptiveClipping, Field(discriminator="clipping")]
