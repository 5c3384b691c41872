"""RLlib's nested results as the plain metrics of a run: pure, without RLlib."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

MODULE = "default_policy"
ALL = "__all_modules__"
PLAIN = {"total_loss": "loss", "vf_loss": "value_loss", "default_optimizer_learning_rate": "lr"}
"""Names that other workloads have for the same figure; everything else keeps RLlib's."""

NO_FIGURES = (
    "num_module_steps_trained",
    "num_trainable_parameters",
    "module_train_batch_size_mean",
    "weights_seq_no",
)


@dataclass(frozen=True)
class Iteration:
    """What one call of RLlib's `train` did. Returns are raw and undiscounted."""

    env_steps: int
    updates: float
    samples: float
    """Batch sizes of the updates, added up."""
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    figures: dict[str, float]
    evaluation_returns: tuple[float, ...] = ()


def read_result(result: Mapping[str, Any], episodes: str, env_steps: str) -> Iteration:
    """The parts of a result that a run reports; `episodes` and `env_steps` are our own keys.

    An offline algorithm samples nothing: its steps are the rows of data it was trained on.
    """
    sampled = result.get("env_runners", {})
    evaluated = result.get("evaluation", {}).get("env_runners", {})
    learner = result.get("learners", {}).get(MODULE, {})
    batch = _number(learner.get("module_train_batch_size_mean"))
    samples = _number(learner.get("num_module_steps_trained"))
    return Iteration(
        env_steps=int(sampled[env_steps] if env_steps in sampled else 0 if sampled else samples),
        updates=round(samples / batch) if batch else 0,
        samples=samples,
        returns=tuple(float(total) for total, _ in _series(sampled.get(episodes))),
        lengths=tuple(int(length) for _, length in _series(sampled.get(episodes))),
        figures=_figures(learner),
        evaluation_returns=tuple(float(total) for total, _ in _series(evaluated.get(episodes))),
    )


def _series(logged: Any) -> list[tuple[float, int]]:
    """What was logged as a series of pairs; RLlib turns a series of one into its item."""
    return [logged] if isinstance(logged, tuple) else logged or []


def _figures(learner: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for name, value in learner.items():
        number = _number(value, otherwise=float("nan"))
        if not name.startswith(NO_FIGURES) and isfinite(number):
            found[PLAIN.get(name, name)] = number
    return found


def _number(value: Any, otherwise: float = 0.0) -> float:
    """A scalar as a plain number; what is missing, nested or not finite is `otherwise`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return otherwise
    return number if isfinite(number) else otherwise
