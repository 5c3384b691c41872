"""IMPALA's learner takes one gradient step on each rollout: so one forward pass has what V-trace
needs and what the loss is taken of.
"""

import torch

from covey.algorithms.agent import Judged, explained_variance, transitions
from covey.algorithms.corrected_learner import CorrectedLearner
from covey.algorithms.ppo_loss import PPOLoss, ppo_loss
from covey.algorithms.rollout import Rollout


class ImpalaLearner(CorrectedLearner):
    """See above. Learners of a group find gradients of their own rows, with passes of their own."""

    def _learn(
        self, rollout: Rollout, learning_rate: float, clip: float
    ) -> tuple[list[PPOLoss], int, float]:
        if self._group.count > 1:
            return super()._learn(rollout, learning_rate, clip)
        agent, config = self._agent, self._config
        inputs, rewards = agent.take_in(rollout)
        actions = torch.from_numpy(rollout.actions).flatten(0, 1)
        logp, entropy, values = agent.network.evaluate(inputs, actions)
        judged = Judged(rollout, inputs, rewards, values.detach().view(-1, *rewards.shape[1:]))
        targets = self._corrected(judged, logp.detach().view(rewards.shape))
        logp, entropy, values, advantages, returns = transitions(
            rollout, logp, entropy, values[: len(actions)], *(part.flatten() for part in targets)
        )
        loss = ppo_loss(
            logp,
            logp.detach(),
            self._scaled(advantages),
            values,
            returns,
            entropy,
            clip=clip,
            value_coef=config.value_coef,
            entropy_coef=config.entropy_coef,
        )
        agent.follow(agent.gradient(loss.total), learning_rate, config.max_grad_norm)
        detached = PPOLoss(*(term.detach() for term in loss))
        return [detached], len(logp), explained_variance(advantages, returns)
