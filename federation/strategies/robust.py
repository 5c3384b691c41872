"""Strategies that bear clients which send anything at all, by Flower's classes.

All but Multi-Krum count every client alike, whatever its number of samples.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from covey.federation.strategies.options import Problem, StrategyOptions, Told
from covey.platform.jobfile.model import Count

Malicious = Annotated[int, Field(ge=0)]


def _too_few(cohort: int, needed: int, malicious: int, most: int, rule: str) -> Problem | None:
    """The problem when a cohort is smaller than `needed`; `most` is what it would bear."""
    if cohort >= needed:
        return None
    text = f"found {malicious}, but {rule}: that needs a cohort of {needed} or more, not {cohort}"
    return "malicious", text + (f"; write {most} or less" if most >= 0 else "")


class KrumOptions(StrategyOptions):
    """The one model that is nearest to its neighbours (Blanchard et al. 2017, section 4)."""

    flower: ClassVar[str] = "Krum"

    name: Literal["krum"]
    malicious: Malicious = Field(default=0, description="how many clients of a cohort may lie")

    def problem(self, cohort: int) -> Problem | None:
        return _krum_problem(cohort, self.malicious)

    def least(self, cohort: int) -> int:
        return 2 * self.malicious + 3

    def arguments(self, told: Told) -> dict[str, Any]:
        return {"num_malicious_nodes": self.malicious}


def _krum_problem(cohort: int, malicious: int) -> Problem | None:
    rule = "cohort > 2 * malicious + 2 must hold"
    return _too_few(cohort, 2 * malicious + 3, malicious, (cohort - 3) // 2, rule)


class MultiKrumOptions(StrategyOptions):
    """The average, by samples, of the models nearest to their neighbours (Blanchard et al. 2017,
    section 4).
    """

    flower: ClassVar[str] = "MultiKrum"

    name: Literal["multi-krum"]
    malicious: Malicious = Field(default=0, description="how many clients of a cohort may lie")
    select: Count | None = Field(
        default=None,
        description="how many models are averaged; by default and at most cohort - malicious",
    )

    def problem(self, cohort: int) -> Problem | None:
        most = cohort - self.malicious
        if found := _krum_problem(cohort, self.malicious):
            return found
        if self.select is not None and self.select > most:
            text = f"found {self.select}, allowed is cohort - malicious = {most} or less"
            return "select", text
        return None

    def least(self, cohort: int) -> int:
        """As many as Krum, and enough to leave the malicious ones out of those selected."""
        enough = self._selected(cohort) + self.malicious if self.malicious else 0
        return max(2 * self.malicious + 3, enough)

    def _selected(self, cohort: int) -> int:
        return self.select or cohort - self.malicious

    def arguments(self, told: Told) -> dict[str, Any]:
        select = self._selected(told.cohort)
        return {"num_malicious_nodes": self.malicious, "num_nodes_to_select": select}


class BulyanOptions(StrategyOptions):
    """Multi-Krum, then for each weight the mean of those nearest to the median (El Mhamdi et al.
    2018, section 4).
    """

    flower: ClassVar[str] = "Bulyan"

    name: Literal["bulyan"]
    malicious: Malicious = Field(default=0, description="how many clients of a cohort may lie")

    def problem(self, cohort: int) -> Problem | None:
        rule = "cohort >= 4 * malicious + 3 must hold"
        needed, most = 4 * self.malicious + 3, (cohort - 3) // 4
        return _too_few(cohort, needed, self.malicious, most, rule)

    def least(self, cohort: int) -> int:
        return 4 * self.malicious + 3

    def arguments(self, told: Told) -> dict[str, Any]:
        return {"num_malicious_nodes": self.malicious}


class TrimmedMeanOptions(StrategyOptions):
    """For each weight the mean without the largest and the smallest (Yin et al. 2018, definition
    2).
    """

    flower: ClassVar[str] = "FedTrimmedAvg"

    name: Literal["trimmed-mean"]
    beta: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        default=0.2,
        description="share that is cut off at each end, rounded down to whole clients; 0 is the "
        "mean",
    )

    def problem(self, cohort: int) -> Problem | None:
        if self.beta == 0 or int(self.beta * cohort) > 0:
            return None
        text = f"found {self.beta}, which cuts nobody off a cohort of {cohort}"
        if cohort < 3:
            return "beta", f"{text}; raise cohort to 3 or more, or write 0 for the plain mean"
        # Rounded up: a little more than 1 / cohort cuts one.
        enough = -(-1000 // cohort) / 1000
        return "beta", f"{text}; write {enough} or more, or 0 for the plain mean"

    def least(self, cohort: int) -> int:
        """Of fewer nobody is cut off."""
        return next(n for n in range(1, cohort + 1) if self.beta == 0 or int(self.beta * n) > 0)

    def arguments(self, told: Told) -> dict[str, Any]:
        return {"beta": self.beta}


class MedianOptions(StrategyOptions):
    """For each weight the median (Yin et al. 2018, definition 1)."""

    flower: ClassVar[str] = "FedMedian"

    name: Literal["median"]
