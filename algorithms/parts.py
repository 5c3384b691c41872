"""What a job's workers are made of: environments, policy, spaces."""

from collections.abc import Callable
from functools import partial

from covey.algorithms.section import RLSection
from covey.envs.make import EnvSource, make_environments
from covey.platform.jobfile.model import JobFile
from covey.platform.runtime.interfaces import ActingPolicy, Environments
from covey.platform.runtime.spaces import Spaces

EVALUATION_ENVS = 10


def env_source(job: JobFile) -> EnvSource:
    """Where the environments of a job come from."""
    section: RLSection = job.section
    return EnvSource(section.env.id, section.env.kwargs, job.code, section.env.preprocess)


def probe_spaces(source: EnvSource) -> Spaces:
    """The spaces of an environment, found out by making one."""
    environments = make_environments(source, count=1, first=0, root_seed=0)
    environments.close()
    return environments.spaces


def make_policy(spaces: Spaces, section: RLSection) -> ActingPolicy:
    """The acting form of the job's policy, without weights yet."""
    return section.algorithm.make_policy(spaces)


def make_environments_of(
    job: JobFile, count: int, first: int, role: str
) -> Callable[[], Environments]:
    """Training environments `first` to `first + count` of a job, made where this is called."""
    return partial(
        make_environments, env_source(job), count, first, job.seed, role, job.deterministic
    )


def evaluation_environments(job: JobFile, episodes: int) -> Callable[[], Environments]:
    """Environments of their own, with their own seeds, to play so many episodes on."""
    count = min(episodes, EVALUATION_ENVS)
    return partial(make_environments, env_source(job), count, 0, job.seed, "evaluation", True)


def number_of_samplers(section: RLSection) -> int:
    """Sampler actors of a resolved section; 0 stands for one that works inline."""
    samplers = section.sampling.samplers
    assert isinstance(samplers, int)
    return samplers
