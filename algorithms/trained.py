"""Trained policies, read back from a run folder: to act in any script, and to be measured."""

from pathlib import Path

from covey.algorithms import saved
from covey.algorithms.normalizer import RunningMoments
from covey.algorithms.policy import MlpPolicy, acting_arrays
from covey.algorithms.section import RLSection
from covey.algorithms.team import evaluation_environments, make_policy
from covey.platform.errors import UserError
from covey.platform.jobfile.model import JobFile
from covey.platform.runs.folder import RunFolder
from covey.platform.runtime.evaluator import Evaluator
from covey.platform.runtime.fragment import Weights
from covey.platform.runtime.spaces import Spaces


def load_run_policy(run_dir: Path) -> MlpPolicy:
    """The policy in the newest whole checkpoint. UserError when there is none."""
    folder = RunFolder.open(run_dir)
    section: RLSection = folder.job().section
    spaces, weights = newest_weights(folder)
    policy = MlpPolicy(spaces, section.algorithm.activation)
    policy.load(weights.arrays)
    return policy


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
    state = saved.read(folder.newest_checkpoint())
    observed = None
    if section.algorithm.normalize_observations:
        observed = RunningMoments(state.spaces.observation.width)
        observed.restore("observations", state.learner.normalizer)
    arrays = acting_arrays(state.learner.model, observed)
    return state.spaces, Weights(state.learner.record["version"], arrays)
