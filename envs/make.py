"""The door to environments: where they come from, and the form of stepping them that fits."""

import gymnasium

from covey.envs.atari import with_its_own_score
from covey.envs.batched import BatchedEnv, has_batched_form
from covey.envs.parallel import ParallelEnv
from covey.envs.particles.environments import ParticleEnv
from covey.envs.single import make_env
from covey.envs.source import (
    PARTICLES,
    EnvSource,
    described,
    import_registering_module,
    names_parallel,
    unknown_id,
)
from covey.envs.vector import VectorEnv
from covey.envs.world import make_parallel
from covey.platform.errors import UserError
from covey.platform.runtime.interfaces import Environments

__all__ = [
    "EnvSource",
    "described",
    "is_parallel",
    "make_env",
    "make_environments",
    "make_parallel",
    "unknown_id",
]


def make_environments(
    source: EnvSource,
    count: int,
    first: int,
    root_seed: int,
    role: str = "environment",
    replayable: bool = False,
) -> Environments:
    """`count` environments in the fastest form that can be had; a PettingZoo one has a column for
    each of its agents. Raises UserError.

    `replayable` ones are stepped one by one: in the batched form none can be brought back to where
    it stands. In the role "evaluation", Atari games count their own score.
    """
    if source.is_particles:
        return ParticleEnv(source, count, first, root_seed, role)
    if source.agents is not None:
        raise UserError(
            f"env.agents: only {', '.join(PARTICLES)} are made for so many agents; {source} takes"
            " its own arguments, env.kwargs"
        )
    if role == "evaluation":
        source = with_its_own_score(source)
    if is_parallel(source):
        return ParallelEnv(source, count, first, root_seed, role, replayable)
    if not replayable and has_batched_form(source):
        return BatchedEnv(source, count, first, root_seed, role)
    return VectorEnv(source, count, first, root_seed, role, replayable)


def is_parallel(source: EnvSource) -> bool:
    """Whether a source names a PettingZoo environment. Raises UserError if the module in front of
    its id cannot be imported.
    """
    if not names_parallel(source.id):
        return False
    # An id may have been registered without a version.
    return import_registering_module(source) not in gymnasium.registry
