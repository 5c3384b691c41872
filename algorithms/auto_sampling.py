"""What `auto` stands for: numbers to begin with, what of a job is tuned while it runs, how far."""

from math import inf

from covey.algorithms.replay_config import ReplayConfig
from covey.algorithms.section import Elastic, RLSection, Sampling, Tuning
from covey.algorithms.tuner import Limits
from covey.platform.errors import KeyProblem
from covey.platform.jobfile.model import JobFile

SAMPLERS_A_CPU, MOST_ENVIRONMENTS = 4, 64
"""How far `auto` goes: samplers on environments that wait leave a CPU to others."""


def resolve_sampling(sampling: Sampling, cpus: float) -> Sampling:
    """`auto` as numbers: a sampler a CPU, or all inline on a single one."""
    samplers = sampling.samplers
    if samplers == "auto":
        samplers = int(cpus) if cpus >= 2 else 0
    least = samplers.min if isinstance(samplers, Elastic) else samplers
    if isinstance(samplers, Elastic) and least > samplers.max:
        raise KeyProblem(
            ("rl", "sampling", "samplers", "max"), f"is {samplers.max}, less than min: {least}"
        )
    asked = sampling.envs_per_sampler
    environments = max(4, 8 // max(1, least)) if asked == "auto" else asked
    if environments < sampling.groups:
        raise KeyProblem(
            ("rl", "sampling", "groups"),
            f"{environments} environment a sampler cannot be parted in {sampling.groups} groups",
        )
    found = {"samplers": samplers, "envs_per_sampler": environments}
    return sampling.model_copy(update=found)


def resolve_tuning(job: JobFile, sampling: Sampling) -> Tuning | None:
    """What is tuned, with numbers for its limits; None if nothing is. `sampling` are the numbers to
    begin with. KeyProblem for what cannot be.
    """
    section: RLSection = job.section
    asked, given = section.sampling, section.sampling.tuning
    samplers, environments = sampling.samplers, sampling.envs_per_sampler
    why = untunable(job, sampling)
    if why is not None and given is not None:
        raise KeyProblem(("rl", "sampling", "tuning"), why)
    if why is not None:
        return None
    assert isinstance(samplers, int) and isinstance(environments, int)
    tuning = given or Tuning()
    batch = most_batch(section, tuning)
    most_samplers, most_environments = tuning.samplers, tuning.envs_per_sampler
    if asked.samplers == "auto" and most_samplers is None:
        most_samplers = max(samplers, int(SAMPLERS_A_CPU * job.resources.cpus))
    if asked.envs_per_sampler == "auto" and most_environments is None:
        most_environments = max(environments, MOST_ENVIRONMENTS)
    check_start("samplers", samplers, most_samplers)
    check_start("envs_per_sampler", environments, most_environments)
    kept = tuning.environments or ("free" if section.algorithm.keeps_rows else "kept")
    knobs = sum(most is not None for most in (most_samplers, most_environments))
    if knobs < (2 if kept == "kept" else 1) and batch is None:
        return None
    found = {"samplers": most_samplers, "envs_per_sampler": most_environments, "batch_size": batch}
    return tuning.model_copy(update={**found, "environments": kept})


def with_first_batch(job: JobFile) -> JobFile:
    """`batch_size: auto` as the number to begin with, and a limit to tune it to. KeyProblem where
    it cannot be tuned.
    """
    section: RLSection = job.section
    algorithm = section.algorithm
    if getattr(algorithm, "batch_size", None) != "auto":
        return job
    why = untunable(job, resolve_sampling(section.sampling, job.resources.cpus))
    if section.coded or section.learners or section.devices:
        why = "several processes have room for a part of it each"
    if why is not None:
        raise KeyProblem(("rl", "algorithm", "batch_size"), f"auto: {why}")
    first = type(algorithm).model_fields["batch_size"].default
    algorithm = algorithm.model_copy(update={"batch_size": first})
    assert isinstance(algorithm, ReplayConfig)
    tuning = section.sampling.tuning or Tuning()
    if tuning.batch_size is None:
        tuning = tuning.model_copy(update={"batch_size": algorithm.most_batch})
    sampling = section.sampling.model_copy(update={"tuning": tuning})
    return job.model_copy(
        update={"rl": section.model_copy(update={"algorithm": algorithm, "sampling": sampling})}
    )


def most_batch(section: RLSection, tuning: Tuning) -> int | None:
    """KeyProblem for a limit that the algorithm cannot have."""
    if tuning.batch_size is None:
        return None
    if not isinstance(section.algorithm, ReplayConfig):
        raise KeyProblem(
            ("rl", "sampling", "tuning", "batch_size"),
            f"{section.algorithm.name} learns from what was just sampled, all of it",
        )
    check_start("batch_size", section.algorithm.batch_size, tuning.batch_size)
    return tuning.batch_size


def untunable(job: JobFile, sampling: Sampling) -> str | None:
    """Why nothing of a job can be tuned."""
    if job.deterministic:
        return "it goes by the clock; a job that repeats cannot"
    if isinstance(sampling.samplers, Elastic):
        return "min and max follow the room in the cluster; give samplers: auto or a number"
    if not sampling.samplers:
        return "all is in one process; give resources.cpus: 2 or more, or samplers: 1"
    return None


def check_start(key: str, start: int, most: int | None) -> None:
    """KeyProblem where a job begins beyond its limit."""
    if most is not None and most < start:
        raise KeyProblem(
            ("rl", "sampling", "tuning", key), f"is {most}, less than what it begins with: {start}"
        )


def limits_of(job: JobFile, tuning: Tuning) -> Limits:
    """What may be tried: a knob without a limit stays where it is."""
    section: RLSection = job.section
    sampling = section.sampling
    assert isinstance(sampling.samplers, int) and isinstance(sampling.envs_per_sampler, int)
    samplers, environments = sampling.samplers, sampling.envs_per_sampler
    kept = tuning.environments == "kept"
    return Limits(
        samplers=(1 if tuning.samplers else samplers, tuning.samplers or samplers),
        environments=(
            sampling.groups if tuning.envs_per_sampler else environments,
            tuning.envs_per_sampler or environments,
        ),
        cpus=job.resources.cpus,
        total=samplers * environments if kept else None,
        most=getattr(section.algorithm, "most_environments", inf),
    )
