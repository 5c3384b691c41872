"""How the actors of RLlib share a job's resources: pure sums, checked when the job file is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from typing import Any

from pydantic import JsonValue

from covey.algorithms.rllib_settings import settings
from covey.platform.errors import KeyProblem
from covey.platform.jobfile.model import Resources

LEAST_CPUS = 0.01
"""An actor gets at least so much, or Ray would place any number of them anywhere."""


@dataclass(frozen=True)
class Shares:
    """What each kind of actor reserves; threads are set apart from it.

    `config` holds the settings of RLlib that say so, `main` what is left for the actor that the
    algorithm itself lives in.
    """

    config: dict[str, float]
    main: dict[str, float]
    actors: tuple[dict[str, float], ...]

    def bundles(self) -> list[dict[str, float]]:
        """The placement group: the algorithm's own place first, then one for each other actor."""
        return [bundle for bundle in (self.main, *self.actors) if any(bundle.values())]


def share_out(algorithm: str, config: Mapping[str, JsonValue], resources: Resources) -> Shares:
    """Half of the CPUs for those who sample and half for those who learn, unless `config` says.

    Sampling and learning take turns, or RLlib's own `num_cpus_per_*` tell the shares. KeyProblem
    when more is asked for than the job has.
    """
    known = settings(algorithm)

    def setting(name: str) -> Any:
        return config[name] if config.get(name) is not None else known[name].default

    runners = _count(setting("num_env_runners")) + _evaluation_runners(setting)
    learners = _count(setting("num_learners"))
    aggregators = max(1, learners) * _count(setting("num_aggregator_actors_per_learner"))
    cpus = resources.cpus - aggregators  # RLlib reserves a whole CPU for each of these
    per_runner = _told(config, "num_cpus_per_env_runner", min(1.0, _part(cpus / 2, runners)))
    rest = cpus - runners * per_runner
    per_learner = _told(config, "num_cpus_per_learner", min(1.0, _part(rest, learners)))
    left = round(rest - learners * per_learner, 4)
    runner_gpus = _told(config, "num_gpus_per_env_runner", 0.0)
    gpus = resources.gpus - runners * runner_gpus
    per_learner_gpus = _told(config, "num_gpus_per_learner", _part(gpus, max(1, learners)))
    if left < 0 or per_runner < 0 or cpus <= 0:
        wanted = resources.cpus - left
        raise KeyProblem(("resources", "cpus"), _too_few(wanted, runners, learners, aggregators))
    if gpus - max(1, learners) * per_learner_gpus < 0:
        text = f"found {resources.gpus:g}, fewer than rllib.config asks for"
        raise KeyProblem(("resources", "gpus"), text)
    learner = {"CPU": per_learner, "GPU": per_learner_gpus}
    return Shares(
        config={
            "num_cpus_per_env_runner": per_runner,
            "num_cpus_per_learner": per_learner if learners else 0,
            "num_gpus_per_learner": per_learner_gpus,
        },
        main=_bundle(CPU=left, GPU=0.0 if learners else per_learner_gpus),
        actors=(
            *[_bundle(CPU=per_runner, GPU=runner_gpus)] * runners,
            *[_bundle(**learner)] * learners,
            *[_bundle(CPU=1.0)] * aggregators,
        ),
    )


def _count(value: Any) -> int:
    return max(0, int(value or 0))  # RLlib refuses negative ones by itself


def _evaluation_runners(setting: Any) -> int:
    return _count(setting("evaluation_num_env_runners")) if setting("evaluation_interval") else 0


def _told(config: Mapping[str, Any], name: str, otherwise: float) -> float:
    value = config.get(name)
    return otherwise if value is None or value == "auto" else float(value)


def _part(amount: float, parts: int) -> float:
    """An equal part, rounded down to what Ray can reserve."""
    return max(LEAST_CPUS, floor(1e4 * amount / parts) / 1e4) if parts and amount > 0 else 0.0


def _bundle(**amounts: float) -> dict[str, float]:
    return {kind: amount for kind, amount in amounts.items() if amount > 0}


def _too_few(wanted: float, runners: int, learners: int, aggregators: int) -> str:
    asked = (
        (runners, "env runner"),
        (learners, "learner"),
        (aggregators, "aggregator actor"),
    )
    who = " and ".join(f"{n} {name}{'s' if n > 1 else ''}" for n, name in asked if n)
    return f"{who} of rllib.config take {wanted:g} CPUs, more than this"
