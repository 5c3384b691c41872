"""The learner of asynchronous PPO: its loss on targets that V-trace corrects for the age of the
weights that acted (Espeholt et al. 2018, section 4). IMPALA's (`impala_learner.py`) is made of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from covey.algorithms.adam import Adam
from covey.algorithms.agent import Judged
from covey.algorithms.estimators import vtrace
from covey.algorithms.learner import LearnerState
from covey.algorithms.ppo_learner import PPOLearner
from covey.algorithms.rmsprop import RMSProp
from covey.platform.runtime.fragment import Fragment, Weights
from covey.platform.runtime.spaces import Spaces

if TYPE_CHECKING:
    from covey.algorithms.appo import APPOConfig
    from covey.algorithms.impala import ImpalaConfig

LAGGED = "lagged"


class CorrectedLearner(PPOLearner):
    """See above. With `weight_lag` it gives out weights of so many updates before."""

    def __init__(
        self, config: ImpalaConfig | APPOConfig, spaces: Spaces, root_seed: int, threads: int
    ) -> None:
        rmsprop = partial(RMSProp, epsilon=config.rmsprop_epsilon)
        optimizer = rmsprop if config.optimizer == "rmsprop" else Adam
        super().__init__(config, spaces, root_seed, threads, optimizer)
        self._corrects = config
        self._given = deque([super().weights()], maxlen=config.weight_lag + 1)

    def weights(self) -> Weights:
        """What acting needs, as it was `weight_lag` updates ago."""
        return self._given[0]

    def _update(self, progress: float, fragments: Sequence[Fragment]) -> dict[str, float]:
        figures = super()._update(progress, fragments)
        self._given.append(super().weights())
        return figures

    def _targets(self, judged: Judged) -> tuple[Tensor, Tensor, Tensor]:
        """See `agent.Targets`: ratios are taken to the policy that the update begins with; what
        lies between that and the policy that acted is in the advantages.
        """
        actions = torch.from_numpy(judged.rollout.actions).flatten(0, 1)
        newest = self._agent.logp(judged.inputs[: len(actions)], actions)
        newest = newest.view(judged.rewards.shape)
        return newest, *self._corrected(judged, newest)

    def _corrected(self, judged: Judged, newest: Tensor) -> tuple[Tensor, Tensor]:
        """Advantages and what values learn towards, where `newest` are the log-probabilities of the
        policy that learns: [T, B].
        """
        rollout, config, values = judged.rollout, self._corrects, judged.values
        acted = newest if config.correction == "none" else torch.from_numpy(rollout.logp)
        returns, advantages = vtrace(
            acted,
            newest,
            judged.rewards,
            values[:-1],
            values[1:],
            torch.from_numpy(rollout.terminated),
            torch.from_numpy(rollout.cut),
            config.gamma,
            config.rho_bar,
            config.c_bar,
            config.trace_lambda,
        )
        return advantages, returns

    def state(self) -> LearnerState:
        """Copies of everything that later updates depend on."""
        state = super().state()
        for index, weights in enumerate(self._older()):
            arrays = {f"{LAGGED}.{index}.{name}": a for name, a in weights.arrays.items()}
            state.optimizer.update(arrays)
        state.record[LAGGED] = [weights.version for weights in self._older()]
        return state

    def _older(self) -> list[Weights]:
        return list(self._given)[:-1]

    def restore(self, state: LearnerState) -> None:
        """Go on exactly from `state`."""
        super().restore(state)
        self._given.clear()
        for index, version in enumerate(state.record[LAGGED]):
            start = f"{LAGGED}.{index}."
            found = {
                k.removeprefix(start): a for k, a in state.optimizer.items() if k.startswith(start)
            }
            self._given.append(Weights(version, found))
        self._given.append(super().weights())
