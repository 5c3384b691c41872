"""Policies trained by RLlib, read back from a run folder: to act in any script, and to be measured.

Only `model.safetensors`, the spaces and the job file are read.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.algorithms import rllib_saved as saved
from covey.algorithms.parts import env_source
from covey.algorithms.rllib_build import Order, make_config, order
from covey.algorithms.rllib_env import encode, network_spaces
from covey.algorithms.rllib_figures import MODULE
from covey.algorithms.rllib_resources import share_out
from covey.algorithms.rllib_section import RllibSection
from covey.envs.atari import with_its_own_score
from covey.envs.make import EnvSource, make_env
from covey.platform.environment import prepare_libraries
from covey.platform.errors import UserError
from covey.platform.jobfile.model import JobFile
from covey.platform.runs.folder import RunFolder
from covey.platform.runtime.spaces import Spaces
from covey.platform.seeds import derive_int

Rows = NDArray[Any]


class RllibPolicy:
    """An RLModule that acts: the most likely actions, as the environment takes them."""

    def __init__(self, order: Order, spaces: Spaces, weights: dict[str, Rows]) -> None:
        config = make_config(order)
        self._spaces = spaces
        self._observed, self._taken = network_spaces(spaces)
        self._normalizes, self._clips = config.normalize_actions, config.clip_actions
        spec = config.get_rl_module_spec(
            spaces={MODULE: (self._observed, self._taken)}, inference_only=True
        )
        self._module = spec.build()
        if self._module.is_stateful():
            raise UserError(
                f"rllib.config.model_config: this {order.algorithm} remembers what it has seen, "
                "and a policy that is handed one observation at a time cannot"
            )
        own = self._module.get_state()
        self._module.set_state({name: weights[name] for name in own})

    def act(self, observations: Rows) -> Rows:
        """The most likely actions for raw observations [B, ...]; a single one [...] gives one."""
        shape = self._spaces.observation.shape
        raw = np.asarray(observations)
        rows = raw.reshape(-1, *shape)
        actions = self._actions(encode(self._spaces, rows))
        taken = self._spaces.action
        prepared = taken.to_environment(actions.reshape(len(rows), *taken.empty(0).shape[1:]))
        return prepared if raw.ndim > len(shape) else prepared[0]

    def _actions(self, rows: Rows) -> Rows:
        import torch
        from ray.rllib.core.columns import Columns
        from ray.rllib.utils.spaces.space_utils import unsquash_action

        kind = np.float32 if rows.dtype.kind == "f" else rows.dtype
        with torch.no_grad():
            batch = {Columns.OBS: torch.from_numpy(np.array(rows, dtype=kind))}
            out = self._module.forward_inference(batch)
            if Columns.ACTIONS in out:
                actions = out[Columns.ACTIONS]
            else:
                distribution = self._module.get_inference_action_dist_cls()
                inputs = out[Columns.ACTION_DIST_INPUTS]
                actions = distribution.from_logits(inputs).to_deterministic().sample()
        found: Rows = actions.numpy()
        if self._spaces.action.kind == "continuous" and self._normalizes:
            found = np.stack(
                [unsquash_action(action, self._taken) for action in found]  # type: ignore[no-untyped-call]
            )
        return found


def load_run_policy(run_dir: Path) -> RllibPolicy:
    """The policy in the newest whole checkpoint. UserError when there is none."""
    prepare_libraries()
    folder = RunFolder.open(run_dir)
    job: JobFile = folder.job()
    section: RllibSection = job.section
    checkpoint = folder.newest_checkpoint()
    shares = share_out(section.algorithm, section.config, job.resources)
    spaces = saved.read_spaces(checkpoint)
    return RllibPolicy(order(job, shares, job.seed), spaces, checkpoint.arrays(saved.MODEL))


def evaluate_run(run_dir: Path, episodes: int) -> dict[str, float]:
    """Whole episodes with the newest weights' most likely actions; raw, undiscounted returns."""
    if episodes < 1:
        raise UserError(f"cannot evaluate on {episodes} episodes: ask for at least 1")
    job = RunFolder.open(run_dir).job()
    policy = load_run_policy(run_dir)
    source = with_its_own_score(env_source(job))
    returns = np.array([play(policy, source, job.seed, number) for number in range(episodes)])
    return {
        "episode_return_mean": float(returns.mean()),
        "episode_return_std": float(returns.std()),
        "episodes": len(returns),
    }


def play(policy: RllibPolicy, source: EnvSource, seed: int, number: int) -> float:
    """The return of one episode, the same one each time for the same weights."""
    env = make_env(source)
    try:
        seen, _ = env.reset(seed=derive_int(seed, "evaluation", 0, number))
        total, ended = 0.0, False
        while not ended:
            seen, reward, terminated, truncated, _ = env.step(policy.act(np.asarray(seen)))
            total += float(reward)
            ended = bool(terminated or truncated)
        return total
    finally:
        env.close()  # type: ignore[no-untyped-call]
