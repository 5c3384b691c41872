"""Trained policies, read back from a run folder: to act in any script, and to be measured."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.algorithms import saved
from covey.algorithms.parts import evaluation_environments, make_policy
from covey.algorithms.section import RLSection
from covey.platform.errors import UserError
from covey.platform.jobfile.model import JobFile
from covey.platform.runs.folder import RunFolder
from covey.platform.runtime.evaluator import Evaluator
from covey.platform.runtime.fragment import Weights
from covey.platform.runtime.interfaces import ActingPolicy
from covey.platform.runtime.spaces import Spaces


class TrainedPolicy:
    """A trained policy as any script uses it."""

    def __init__(self, policy: ActingPolicy, spaces: Spaces) -> None:
        self._policy = policy
        self._spaces = spaces

    def act(self, observations: NDArray[Any]) -> NDArray[Any]:
        """What the environment takes: the most likely actions for [B, ...], or one for one
        observation. ValueError for what is neither.
        """
        observations = np.asarray(observations)
        shape = self._spaces.observation.shape
        single = observations.shape == shape
        if not single and observations.shape[1:] != shape:
            raise ValueError(f"observations of shape {observations.shape}: expected [B, *{shape}]")
        actions = self._policy.best(observations[None] if single else observations)
        prepared = self._spaces.action.to_environment(actions)
        return prepared[0] if single else prepared


def load_run_policy(run_dir: Path) -> TrainedPolicy:
    """The policy in the newest whole checkpoint. UserError when there is none."""
    folder = RunFolder.open(run_dir)
    spaces, weights = newest_weights(folder)
    policy = make_policy(spaces, folder.job().section)
    policy.load(weights.arrays)
    return TrainedPolicy(policy, spaces)


def evaluate_run(run_dir: Path, episodes: int) -> dict[str, float]:
    """Whole episodes with the newest weights' most likely actions; raw, undiscounted returns."""
    if episodes < 1:
        raise UserError(f"cannot evaluate on {episodes} episodes: ask for at least 1")
    folder = RunFolder.open(run_dir)
    job: JobFile = folder.job()
    spaces, weights = newest_weights(folder)
    evaluator = Evaluator(
        evaluation_environments(job, episodes), lambda: make_policy(spaces, job.section)
    )
    evaluation = evaluator.evaluate(weights, episodes)
    return {
        "episode_return_mean": float(evaluation.returns.mean()),
        "episode_return_std": float(evaluation.returns.std()),
        "episodes": len(evaluation.returns),
    }


def newest_weights(folder: RunFolder) -> tuple[Spaces, Weights]:
    """What acting needs, of the newest whole checkpoint."""
    section: RLSection = folder.job().section
    spaces, learner = saved.read_learner(folder.newest_checkpoint())
    arrays = section.algorithm.acting_arrays(spaces, learner)
    return spaces, Weights(0, arrays)
