"""`workload: rl` as the platform sees it. Importing this is cheap; torch and Ray wait for `run`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from covey.algorithms.section import RLSection, Sampling
from covey.platform.errors import KeyProblem
from covey.platform.jobfile.model import JobFile, Section, StepUnit
from covey.platform.workload import Policy

if TYPE_CHECKING:
    from covey.platform.runs.run import Run


class RLWorkload:
    """Samplers, a learner and an evaluator on one environment."""

    name = "rl"
    section: type[Section] = RLSection
    step_unit: StepUnit = "env_steps"
    stop_metrics = frozenset({"episode_return_mean"})
    may_change = frozenset({"rl.sampling", "rl.evaluation", "rl.viewer"})

    def resolve(self, job: JobFile, base: Path) -> JobFile:
        section: RLSection = job.section
        check_env_id(section.env.id)
        section.algorithm.check(job)
        sampling = resolve_sampling(section.sampling, job.resources.cpus)
        check_coded(job, sampling)
        return job.model_copy(update={"rl": section.model_copy(update={"sampling": sampling})})

    def run(self, run: "Run") -> Mapping[str, float]:
        from covey.algorithms.attempt import train

        return train(run)

    def evaluate(self, run_dir: Path, episodes: int) -> Mapping[str, float]:
        from covey.algorithms.trained import evaluate_run

        return evaluate_run(run_dir, episodes)

    def load_policy(self, run_dir: Path) -> Policy:
        from covey.algorithms.trained import load_run_policy

        return load_run_policy(run_dir)


def check_env_id(env_id: str) -> None:
    """Raise KeyProblem for an id that cannot be; one with a module in front is known only to its
    module.
    """
    from covey.envs.make import unknown_id

    problem = None if ":" in env_id else unknown_id(env_id)
    if problem is not None:
        raise KeyProblem(("rl", "env", "id"), problem)


def check_coded(job: JobFile, sampling: Sampling) -> None:
    """Raise KeyProblem where a pool of workers cannot compute the updates, or would not repeat
    them.
    """
    section: RLSection = job.section
    coded = section.coded
    if coded is None:
        return
    if not section.algorithm.shares_work:
        raise KeyProblem(
            ("rl", "coded"), f"{section.algorithm.name} updates by itself; maddpg has workers do it"
        )
    if not sampling.samplers:
        raise KeyProblem(
            ("rl", "coded"),
            "its workers are Ray actors, but rl.sampling.samplers is 0: all in one process",
        )
    plain = coded.exact or coded.code in ("uncoded", "replication")
    if job.deterministic and not plain:
        raise KeyProblem(
            ("rl", "coded", "exact"),
            f"with {coded.code} the last bits depend on who answers first; a job that repeats needs"
            " exact: true",
        )


def resolve_sampling(sampling: Sampling, cpus: float) -> Sampling:
    """`auto` as numbers: a sampler a CPU, or all inline on a single one."""
    samplers = sampling.samplers
    if samplers == "auto":
        samplers = int(cpus) if cpus >= 2 else 0
    asked = sampling.envs_per_sampler
    environments = max(4, 8 // max(1, samplers)) if asked == "auto" else asked
    if environments < sampling.groups:
        raise KeyProblem(
            ("rl", "sampling", "groups"),
            f"{environments} environment a sampler cannot be parted in {sampling.groups} groups",
        )
    found = {"samplers": samplers, "envs_per_sampler": environments}
    return sampling.model_copy(update=found)


WORKLOAD = RLWorkload()
