"""`workload: rllib` as the platform sees it: RLlib's algorithms as jobs like any other.

Importing this is cheap, and so is checking a job file: Ray and torch wait for `run`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from covey.algorithms.rllib_resources import share_out
from covey.algorithms.rllib_section import RllibSection
from covey.algorithms.rllib_settings import algorithm_names, settings
from covey.platform.errors import Key, KeyProblem
from covey.platform.jobfile.model import JobFile, Section, StepUnit
from covey.platform.jobfile.nearest import nearest
from covey.platform.jobfile.words import found
from covey.platform.workload import Policy

if TYPE_CHECKING:
    from covey.platform.runs.run import Run

ELSEWHERE = {
    "env": "write it as rllib.env.id",
    "env_config": "write it as rllib.env.kwargs",
    "seed": "write seed at the top of the job file",
    "num_cpus_for_main_process": "it is what the other actors leave of resources.cpus",
    "num_gpus": "write resources.gpus",
    "observation_space": "it is the environment's",
    "action_space": "it is the environment's",
    "framework_str": "it is torch on RLlib's new API stack",
    "enable_rl_module_and_learner": "only RLlib's new API stack is used",
    "enable_env_runner_and_connector_v2": "only RLlib's new API stack is used",
    "policies": "several agents are not supported here",
}
"""What RLlib lets one set, but a job file says in another place or not at all."""


class RllibWorkload:
    """One of RLlib's algorithms, with our run folder, checkpoints and scheduler."""

    name = "rllib"
    section: type[Section] = RllibSection
    step_unit: StepUnit = "env_steps"
    stop_metrics = frozenset({"episode_return_mean"})
    may_change: frozenset[str] = frozenset()

    def resolve(self, job: JobFile, base: Path) -> JobFile:
        section: RllibSection = job.section
        check_algorithm(section.algorithm)
        for key, value in section.config.items():
            check_setting(section.algorithm, key, value)
        check_env_id(section.env.id)
        if job.deterministic:
            text = "RLlib's algorithms cannot be repeated bit for bit; leave it out"
            raise KeyProblem(("deterministic",), text)
        share_out(section.algorithm, section.config, job.resources)
        return job

    def run(self, run: "Run") -> Mapping[str, float]:
        from covey.algorithms.rllib_training import train

        return train(run)

    def evaluate(self, run_dir: Path, episodes: int) -> Mapping[str, float]:
        from covey.algorithms.rllib_trained import evaluate_run

        return evaluate_run(run_dir, episodes)

    def load_policy(self, run_dir: Path) -> Policy:
        from covey.algorithms.rllib_trained import load_run_policy

        return load_run_policy(run_dir)


def check_algorithm(name: str) -> None:
    """Raise KeyProblem for a name that RLlib has no algorithm of."""
    names = algorithm_names()
    if name not in names:
        near = nearest(name, names)
        hint = f"; nearest is {near}" if near else ""
        text = f"found {found(name)}, allowed are {', '.join(names)}{hint}"
        raise KeyProblem(("rllib", "algorithm"), text)


def check_setting(algorithm: str, name: str, value: JsonValue) -> None:
    """Raise KeyProblem for a setting that the algorithm does not have, or not with such a value."""
    key: Key = ("rllib", "config", name)
    known = settings(algorithm)
    if name in ELSEWHERE:
        raise KeyProblem(key, f"is not set here: {ELSEWHERE[name]}")
    if name not in known:
        open_to_all = [n for n in known if n not in ELSEWHERE and not known[n].is_code]
        near = nearest(name, open_to_all)
        hint = f", nearest is {near}" if near else ""
        raise KeyProblem(key, f"unknown key of RLlib's {algorithm}{hint}")
    setting = known[name]
    if setting.is_code:
        raise KeyProblem(key, "takes a class or a function, and a job file cannot hold code")
    if not setting.takes(value):
        raise KeyProblem(key, f"found {found(value)}, allowed is {setting.describe()}")


def check_env_id(env_id: str) -> None:
    """Raise KeyProblem for an id that cannot be; one with a module in front is known only to its
    module.
    """
    from covey.envs.make import unknown_id

    problem = None if ":" in env_id else unknown_id(env_id)
    if problem is not None:
        raise KeyProblem(("rllib", "env", "id"), problem)


WORKLOAD = RllibWorkload()
