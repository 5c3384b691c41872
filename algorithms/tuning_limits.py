"""What of a job is tuned while it runs, and how far."""

from covey.algorithms.section import Elastic, RLSection, Sampling, Tuning
from covey.algorithms.tuner import Limits
from covey.platform.errors import KeyProblem
from covey.platform.jobfile.model import JobFile

SAMPLERS_A_CPU, MOST_ENVIRONMENTS = 4, 64
"""How far `auto` goes: samplers on environments that wait leave a CPU to others."""


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
    most_samplers, most_environments = tuning.samplers, tuning.envs_per_sampler
    if asked.samplers == "auto" and most_samplers is None:
        most_samplers = max(samplers, int(SAMPLERS_A_CPU * job.resources.cpus))
    if asked.envs_per_sampler == "auto" and most_environments is None:
        most_environments = max(environments, MOST_ENVIRONMENTS)
    check_start("samplers", samplers, most_samplers)
    check_start("envs_per_sampler", environments, most_environments)
    kept = tuning.environments or ("kept" if section.algorithm.takes_turns else "free")
    knobs = sum(most is not None for most in (most_samplers, most_environments))
    if knobs < (2 if kept == "kept" else 1):
        return None
    found = {"samplers": most_samplers, "envs_per_sampler": most_environments}
    return tuning.model_copy(update={**found, "environments": kept})


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
        most=section.algorithm.most_environments,
    )
