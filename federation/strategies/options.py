"""What the options of every strategy have in common. Cheap to import: Flower waits for `build`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from covey.platform.jobfile.model import Section

if TYPE_CHECKING:
    from flwr.serverapp.strategy import Strategy

Fraction = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0)]
Problem = tuple[str, str]
"""The option that is impossible, and a line that says what would work."""


@dataclass(frozen=True)
class Told:
    """What a strategy of a built-in app knows beside its options."""

    cohort: int
    """Clients that train in a round."""
    learning_rate: float
    """Of the clients' local steps."""
    rectified: bool = True
    """Whether what the model's last layer sees is at least 0."""

    def sampling(self) -> dict[str, Any]:
        """Flower's arguments for `cohort` clients a round, and no evaluation on clients."""
        # The minimum rules: a fraction of the clients, rounded down, could be one less.
        return {
            "fraction_train": 1e-9,
            "fraction_evaluate": 0.0,
            "min_train_nodes": self.cohort,
            "min_available_nodes": self.cohort,
        }


class StrategyOptions(Section):
    """Base of the options of a strategy: one class a strategy, one line in `registry.py`."""

    flower: ClassVar[str] = "FedAvg"
    """The name of the class in flwr.serverapp.strategy."""
    averages: ClassVar[bool] = False
    """Whether the new model is the plain average of the clients': only then is the noise of
    differential privacy the right amount.
    """
    bears_compression: ClassVar[bool] = True
    """Whether the server can do with a client's model as packing has left it."""

    needs_latents: ClassVar[bool] = False
    """Whether the model must have a layer before its last one."""
    needs_loss_before: ClassVar[bool] = False
    """Whether the server must know each client's loss before it trained."""

    share: Literal["all", "head", "nothing"] = Field(
        default="all",
        description="what of a model clients and server exchange: all of it, or its last layer, "
        "and each client keeps the others to itself",
        json_schema_extra={"enum": ["all", "head"]},
    )

    @property
    def inner(self) -> StrategyOptions:
        """The options of what makes the new model: these, unless they stand around others."""
        return self

    def problem(self, cohort: int) -> Problem | None:
        """Why these options cannot work with a cohort of that size."""
        return None

    @property
    def tells_more(self) -> str | None:
        """The option that makes clients tell something besides their models."""
        return None

    @property
    def too_telling(self) -> str | None:
        """Why there can be no differential privacy, whatever the options are."""
        return None

    def least(self, cohort: int) -> int:
        """The fewest replies that make a model as good as these options promise."""
        return 1

    def arguments(self, told: Told) -> dict[str, Any]:
        """The options by Flower's names."""
        return {}

    def build(self, told: Told) -> Strategy:
        """The strategy itself."""
        from flwr.serverapp import strategy

        made: Strategy = getattr(strategy, self.flower)(**told.sampling(), **self.arguments(told))
        return made

    def around(self, strategy: Strategy, told: Told, private: bool) -> Strategy:
        """What stands around the strategy, which may be private by now."""
        return strategy
