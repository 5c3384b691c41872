"""What a job's workers are made of: environments, policy, spaces."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

from covey.algorithms.section import Elastic, RLSection
from covey.algorithms.tuner import Setting
from covey.envs.make import EnvSource, make_environments
from covey.platform.jobfile.model import JobFile
from covey.platform.runtime.interfaces import ActingPolicy, Environments
from covey.platform.runtime.overlapped import Overlapped
from covey.platform.runtime.spaces import Spaces

EVALUATION_ENVS = 10


def env_source(job: JobFile) -> EnvSource:
    """Where the environments of a job come from."""
    section: RLSection = job.section
    env = section.env
    return EnvSource(env.id, env.kwargs, job.code, env.preprocess, env.agents)


def probe_spaces(source: EnvSource) -> Spaces:
    """The spaces of an environment, found out by making one."""
    environments = make_environments(source, count=1, first=0, root_seed=0)
    environments.close()
    return environments.spaces


def make_policy(spaces: Spaces, section: RLSection) -> ActingPolicy:
    """The acting form of the job's policy, without weights yet."""
    return section.algorithm.make_policy(spaces)


def make_exploring_policy(
    spaces: Spaces, section: RLSection, first: int, count: int, total: int
) -> ActingPolicy:
    """The same for a sampler whose environments are number `first` to `first + count` of `total`,
    where the algorithm has environments explore each in its own way.
    """
    own = getattr(section.algorithm, "make_exploring_policy", None)
    if own is None:
        return section.algorithm.make_policy(spaces)
    policy: ActingPolicy = own(spaces, first, count, total)
    return policy


def make_environments_of(
    job: JobFile, count: int, first: int, role: str
) -> Callable[[], Environments]:
    """Training environments `first` to `first + count` of a job, made where this is called."""
    section: RLSection = job.section
    made = [
        partial(make_environments, env_source(job), size, start, job.seed, role, job.deterministic)
        for size, start in in_groups(count, first, section.sampling.groups)
    ]
    return made[0] if len(made) == 1 else partial(Overlapped, *made)


def in_groups(count: int, first: int, groups: int) -> list[tuple[int, int]]:
    """`count` environments, numbered from `first`, in groups: the size and first number of each."""
    cuts = [count * k // groups for k in range(groups + 1)]
    return [(end - start, first + start) for start, end in pairwise(cuts)]


def with_setting(job: JobFile, setting: Setting) -> JobFile:
    """The same job with so many samplers and environments."""
    section: RLSection = job.section
    numbers = {"samplers": setting.samplers, "envs_per_sampler": setting.environments}
    sampling = section.sampling.model_copy(update=numbers)
    return job.model_copy(update={"rl": section.model_copy(update={"sampling": sampling})})


def with_batch(job: JobFile, batch_size: int) -> JobFile:
    """The same job with other minibatches."""
    section: RLSection = job.section
    algorithm = section.algorithm.model_copy(update={"batch_size": batch_size})
    return job.model_copy(update={"rl": section.model_copy(update={"algorithm": algorithm})})


def evaluation_environments(job: JobFile, episodes: int) -> Callable[[], Environments]:
    """Environments of their own, with their own seeds, to play so many episodes on."""
    count = min(episodes, EVALUATION_ENVS)
    return partial(make_environments, env_source(job), count, 0, job.seed, "evaluation", True)


def number_of_samplers(section: RLSection) -> int:
    """Sampler actors of a resolved section, at most; 0 stands for one that works inline."""
    samplers = section.sampling.samplers
    assert not isinstance(samplers, str)
    return samplers.max if isinstance(samplers, Elastic) else samplers


def least_samplers(section: RLSection) -> int:
    """The same, at least: so many begin with the job."""
    samplers = section.sampling.samplers
    return samplers.min if isinstance(samplers, Elastic) else number_of_samplers(section)
