"""Who works on a reinforcement-learning job: samplers, a learner, an evaluator."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from covey.algorithms.policy import MlpPolicy
from covey.algorithms.section import RLSection
from covey.envs.make import EnvSource
from covey.envs.vector import VectorEnv
from covey.platform.jobfile.model import JobFile
from covey.platform.runtime.crew import Crew, Worker
from covey.platform.runtime.evaluator import Evaluator
from covey.platform.runtime.interfaces import ActingPolicy
from covey.platform.runtime.sampler import Sampler
from covey.platform.runtime.spaces import Spaces
from covey.platform.seeds import derive

EVALUATION_ENVS = 10


@dataclass(frozen=True)
class Team:
    """The workers of one job, however they run."""

    samplers: tuple[Worker, ...]
    learner: Worker
    evaluator: Worker | None


def env_source(job: JobFile) -> EnvSource:
    """Where the environments of a job come from."""
    section: RLSection = job.section
    return EnvSource(section.env.id, section.env.kwargs, job.code)


def probe_spaces(source: EnvSource) -> Spaces:
    """The spaces of an environment, found out by making one."""
    environments = VectorEnv(source, count=1, first=0, root_seed=0)
    environments.close()
    return environments.spaces


def make_policy(spaces: Spaces, section: RLSection) -> ActingPolicy:
    """The acting form of the job's policy, without weights yet."""
    return MlpPolicy(spaces, section.algorithm.activation)


def evaluation_environments(job: JobFile, episodes: int) -> Callable[[], VectorEnv]:
    """Environments of their own, with their own seeds, to play so many episodes on."""
    count = min(episodes, EVALUATION_ENVS)
    return partial(VectorEnv, env_source(job), count, 0, job.seed, "evaluation")


def assemble(crew: Crew, job: JobFile, spaces: Spaces) -> Team:
    """Start all workers of a job whose section is resolved. Does not wait for them."""
    section: RLSection = job.section
    policy = partial(make_policy, spaces, section)
    environments = section.sampling.envs_per_sampler
    assert isinstance(environments, int)
    samplers = tuple(
        crew.spawn(
            f"sampler {index}",
            Sampler,
            partial(
                VectorEnv,
                env_source(job),
                environments,
                index * environments,
                job.seed,
                replayable=job.deterministic,
            ),
            policy,
            section.algorithm.rollout_steps,
            derive(job.seed, "sampler", index),
        )
        for index in range(max(1, number_of_samplers(section)))
    )
    learner = crew.spawn(
        "learner", section.algorithm.make_learner, spaces, job.seed, max(1, int(job.resources.cpus))
    )
    evaluator = None
    if section.evaluation.every_env_steps is not None:
        evaluator = crew.spawn(
            "evaluator",
            Evaluator,
            evaluation_environments(job, section.evaluation.episodes),
            policy,
        )
    return Team(samplers, learner, evaluator)


def number_of_samplers(section: RLSection) -> int:
    """Sampler actors of a resolved section; 0 stands for one that works inline."""
    samplers = section.sampling.samplers
    assert isinstance(samplers, int)
    return samplers
