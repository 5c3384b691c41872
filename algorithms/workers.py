"""The workers of a reinforcement-learning job, each made in a process of its own, or inline."""

from dataclasses import dataclass
from functools import partial

from covey.algorithms.loop import LearnerLoop
from covey.algorithms.parts import make_environments_of, make_policy, number_of_samplers
from covey.algorithms.section import RLSection
from covey.platform.jobfile.model import JobFile
from covey.platform.runtime.crew import Crew, Pending, Worker
from covey.platform.runtime.sampler import Sampler
from covey.platform.runtime.spaces import Spaces
from covey.platform.runtime.stream import Stream
from covey.platform.seeds import derive


@dataclass
class SamplerMember:
    """A sampler, its stream, and its endless call. `lives` counts those before it."""

    stream: Stream
    worker: Worker
    running: Pending | None = None
    lives: int = 0


def spawn_learner(crew: Crew, job: JobFile, spaces: Spaces) -> Worker:
    """A learner from the beginning."""
    return crew.spawn("learner", LearnerLoop, job.section, spaces, job.seed, threads_of(job))


def threads_of(job: JobFile) -> int:
    """The learner's: one a CPU that no sampler keeps busy while it works."""
    section: RLSection = job.section
    busy = 0 if section.algorithm.takes_turns else number_of_samplers(section)
    return max(1, int(job.resources.cpus) - busy)


def spawn_sampler(crew: Crew, job: JobFile, spaces: Spaces, index: int, lives: int) -> Worker:
    """Sampler number `index`. After `lives` others it plays other episodes than they did."""
    section: RLSection = job.section
    environments = section.sampling.envs_per_sampler
    assert isinstance(environments, int)
    role = "environment" if lives == 0 else f"environment of life {lives}"
    return crew.spawn(
        f"sampler {index}",
        Sampler,
        make_environments_of(job, environments, index * environments, role),
        partial(make_policy, spaces, section),
        derive(job.seed, "sampler", index, *([lives] if lives else [])),
    )
