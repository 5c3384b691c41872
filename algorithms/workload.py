"""`workload: rl` as the platform sees it. Importing this is cheap; torch and Ray wait for `run`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from covey.algorithms.auto_sampling import resolve_sampling, resolve_tuning, with_first_batch
from covey.algorithms.coded import Coded, Inject
from covey.algorithms.devices import check_devices
from covey.algorithms.section import Elastic, RLSection, Sampling, number_of_learners
from covey.platform.coding.registry import SUM_CODES
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
    stop_metrics = frozenset({"episode_return_mean", "evaluation_return_mean"})
    may_change = frozenset(
        {"rl.sampling", "rl.evaluation", "rl.viewer", "rl.devices", "rl.learners"}
    )

    def resolve(self, job: JobFile, base: Path) -> JobFile:
        job = with_first_batch(job)
        section: RLSection = job.section
        check_env_id(section.env.id)
        section.algorithm.check(job)
        check_evaluates(job)
        sampling = resolve_sampling(section.sampling, job.resources.cpus)
        if job.deterministic and isinstance(sampling.samplers, Elastic):
            raise KeyProblem(
                ("rl", "sampling", "samplers"),
                "a job that repeats needs a fixed number: what it learns depends on it",
            )
        tuning = resolve_tuning(job, sampling)
        sampling = sampling.model_copy(update={"tuning": tuning})
        if section.devices is not None:
            check_devices(job, sampling, section.devices)
        if section.coded is not None:
            check_coded(job, sampling, section.coded)
        elif number_of_learners(section) > 1:
            check_learners(section, sampling)
        resolved = section.model_copy(update={"sampling": sampling})
        return job.model_copy(update={"rl": resolved})

    def bundles(self, job: JobFile) -> Sequence[Mapping[str, float]]:
        from covey.algorithms.parts import least_samplers
        from covey.platform.runtime.actors import bundles

        samplers = least_samplers(job.section)
        if not samplers:
            return ()

        return bundles(job.resources, samplers)

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


def check_learners(section: RLSection, sampling: Sampling) -> None:
    """Raise KeyProblem where several learners cannot share minibatches."""
    algorithm, count = section.algorithm, number_of_learners(section)
    if not algorithm.shares_rows:
        raise KeyProblem(
            ("rl", "learners"),
            f"{algorithm.name} has one learner; all other algorithms can have several"
            + ("; rl.coded has workers compute its updates" if algorithm.shares_work else ""),
        )
    if getattr(algorithm, "policies", "shared") == "separate":
        raise KeyProblem(
            ("rl", "learners"),
            "separate policies have a learner each; several can share the work of one policy, with"
            " rl.algorithm.policies: shared",
        )
    key = "minibatch_size" if hasattr(algorithm, "minibatch_size") else "batch_size"
    size = getattr(algorithm, key)
    if size < count:
        raise KeyProblem(
            ("rl", "learners", "count"),
            f"{count} learners cannot share {size} transitions (rl.algorithm.{key})",
        )
    if not sampling.samplers:
        raise KeyProblem(
            ("rl", "learners"),
            "they are Ray actors, but this job is all in one process; give resources.cpus: 2 or"
            " more, or rl.sampling.samplers: 1",
        )


def check_evaluates(job: JobFile) -> None:
    """Raise KeyProblem for a goal of evaluations that there are none of."""
    section: RLSection = job.section
    if job.stop.evaluation_return_mean is not None and section.evaluation.every_env_steps is None:
        raise KeyProblem(
            ("stop", "evaluation_return_mean"),
            "needs evaluations: give rl.evaluation.every_env_steps, such as 10_000",
        )


def check_coded(job: JobFile, sampling: Sampling, coded: Coded) -> None:
    """Raise KeyProblem where a pool of workers cannot compute the updates, or would not repeat
    them.
    """
    section: RLSection = job.section
    name, shares = section.algorithm.name, section.algorithm.shares_work
    if not shares:
        raise KeyProblem(
            ("rl", "coded"), f"{name} updates by itself; maddpg and ppo can have workers do it"
        )
    if shares == "agents" and section.learners is not None:
        raise KeyProblem(
            ("rl", "learners"), f"{name} shares its work by agents: give rl.coded alone"
        )
    if shares == "parts":
        if section.learners is None:
            raise KeyProblem(
                ("rl", "coded"),
                f"{name} needs rl.learners too: in how many parts a gradient is cut",
            )
        if getattr(section.algorithm, "policies", "shared") == "separate":
            raise KeyProblem(
                ("rl", "learners"), "separate policies have a gradient each; workers share one"
            )
    if shares == "agents" and coded.code in SUM_CODES:
        raise KeyProblem(
            ("rl", "coded", "code"),
            f"{coded.code} gives the sum of results, and {name} needs each; mds is for that",
        )
    if not sampling.samplers:
        raise KeyProblem(
            ("rl", "coded"),
            "its workers are Ray actors, but this job is all in one process; give resources.cpus: 2"
            " or more, or rl.sampling.samplers: 1",
        )
    check_inject(coded.inject)
    if job.deterministic:
        check_repeats(coded.code, coded.exact, shares == "parts")


def check_inject(inject: Inject) -> None:
    """Raise KeyProblem where it says twice who is late."""
    if inject.stragglers and inject.workers:
        raise KeyProblem(
            ("rl", "coded", "inject", "stragglers"),
            "stragglers are drawn in each iteration, or are always the same workers: give one of"
            " stragglers and workers",
        )


def check_repeats(code: str, exact: bool, parts: bool) -> None:
    """Raise KeyProblem for a code whose results depend on who answers first."""
    if code == "auto":
        raise KeyProblem(
            ("rl", "coded", "code"), "auto goes by the clock; a job that repeats cannot"
        )
    if exact or code in ("uncoded", "replication", "fractional-repetition"):
        return
    told = f"with {code} the last bits depend on who answers first; a job that repeats needs"
    if code in ("mds", "ldpc"):
        raise KeyProblem(("rl", "coded", "exact"), f"{told} exact: true")
    other = "fractional-repetition, or mds" if parts else "replication, or mds"
    raise KeyProblem(("rl", "coded", "code"), f"{told} {other} with exact: true")


WORKLOAD = RLWorkload()
