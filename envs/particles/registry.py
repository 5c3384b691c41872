"""The scenarios by name, and how a job's words make one."""

from inspect import signature
from typing import Any

from covey.envs.particles.adversary import Adversary
from covey.envs.particles.push import Push
from covey.envs.particles.scenario import Scenario
from covey.envs.particles.spread import Spread
from covey.envs.particles.tag import Tag
from covey.envs.source import EnvSource
from covey.platform.errors import UserError

SCENARIOS: dict[str, type[Scenario]] = {
    scenario.NAME: scenario for scenario in (Spread, Tag, Adversary, Push)
}


def make_scenario(source: EnvSource, worlds: int, kwargs: dict[str, Any]) -> Scenario:
    """So many worlds of the one that `source` names. Raises UserError."""
    scenario: Any = SCENARIOS[source.id]
    known = [name for name in signature(scenario).parameters if name not in ("worlds", "agents")]
    wrong = [name for name in kwargs if name not in known]
    if wrong:
        known += ["max_cycles", "continuous_actions", "render_mode"]
        raise UserError(f"{source}: no argument {wrong[0]!r}; there are {', '.join(known)}")
    agents = {} if source.agents is None else {"agents": source.agents}
    made: Scenario = scenario(worlds, **agents, **kwargs)
    return made
