"""When a metric has stopped getting better."""

import math
from collections.abc import Mapping

from covey.federation.rounds_section import EarlyStopSection
from covey.platform.errors import UserError
from covey.platform.jobfile.nearest import nearest

LOWER_IS_BETTER = ("loss", "error")


class EarlyStop:
    """Remembers the best value of a metric and when it was. Without a section it never stops.

    Patience counts rounds, but training ends only after one in which the metric came: in between
    nobody knows whether it has got better.
    """

    def __init__(self, section: EarlyStopSection | None) -> None:
        self._section = section
        self._best: float | None = None
        self._best_round: int | None = None
        self._newest_round: int | None = None

    @property
    def state(self) -> tuple[float | None, int | None, int | None]:
        """For the checkpoint: the best value, its round, and that of the newest value; None while
        there is none.
        """
        return self._best, self._best_round, self._newest_round

    @state.setter
    def state(self, state: tuple[float | None, int | None, int | None]) -> None:
        self._best, self._best_round, self._newest_round = state

    def see(self, number: int, figures: Mapping[str, float], evaluated: bool) -> None:
        """Take note of a round's figures. UserError when the model was `evaluated`, the patience is
        over and the metric has never come.
        """
        if self._section is None:
            return
        value = figures.get(self._section.metric)
        if value is not None:
            self._newest_round = number
            if self._best_round is None or self._is_better(value):
                self._best = value if math.isfinite(value) else None
                self._best_round = number
        elif self._best_round is None and evaluated and number >= self._section.patience:
            raise UserError(_no_metric(self._section.metric, figures))

    def reason(self, number: int) -> str | None:
        """Why training ends after round `number`; None while it goes on."""
        if self._section is None or self._best_round is None or number != self._newest_round:
            return None
        waited = number - self._best_round
        if waited < self._section.patience:
            return None
        best = "it was never finite" if self._best is None else f"the best was {self._best:.6g}"
        return (
            f"{self._section.metric} has not got better for {waited} rounds: "
            f"{best}, in round {self._best_round}"
        )

    def _is_better(self, value: float) -> bool:
        assert self._section is not None
        if not math.isfinite(value):
            return False
        if self._best is None:
            return True
        gain = value - self._best
        return (-gain if self._wants_less(self._section) else gain) > self._section.min_delta

    @staticmethod
    def _wants_less(section: EarlyStopSection) -> bool:
        if section.better is not None:
            return section.better == "lower"
        return any(word in section.metric for word in LOWER_IS_BETTER)


def _no_metric(metric: str, figures: Mapping[str, float]) -> str:
    near = nearest(metric, figures)
    return (
        f"federated.early_stop.metric is {metric}, but a round reports {', '.join(sorted(figures))}"
        + (f"; nearest is {near}" if near else "")
    )
