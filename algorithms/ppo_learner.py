"""The learner that goes down PPO's loss (Schulman et al. 2017)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Protocol

import torch
from numpy.random import PCG64, Generator
from torch import Tensor

from covey.algorithms.adam import Adam
from covey.algorithms.agent import Agent, AgentConfig, Batch, Judged, Optimizer, empty_batch
from covey.algorithms.coded import Work
from covey.algorithms.estimators import gae
from covey.algorithms.learner import LearnerState
from covey.algorithms.learner_group import Alone, Group
from covey.algorithms.means import Means
from covey.algorithms.orders import Interrupted
from covey.algorithms.ppo_gradient import TERMS, snapshot_of, work_of
from covey.algorithms.ppo_loss import PPOLoss, loss_of
from covey.algorithms.rollout import Rollout, join
from covey.platform.coding.pool import CodedPool
from covey.platform.runtime.fragment import Fragment, Weights
from covey.platform.runtime.spaces import Spaces
from covey.platform.seeds import derive


class PPOSettings(AgentConfig, Protocol):
    """The settings of an algorithm that goes down this loss."""

    learning_rate: float
    entropy_coef: float
    value_coef: float
    max_grad_norm: float
    normalize_advantages: bool
    threads: int | None

    @property
    def schedule(self) -> str: ...
    @property
    def minibatch_size(self) -> int: ...
    @property
    def epochs(self) -> int: ...
    @property
    def clip(self) -> float: ...
    @property
    def target_kl(self) -> float | None: ...
    @property
    def gae_lambda(self) -> float: ...


MEANS = ("policy_loss", "value_loss", "entropy", "kl", "clip_fraction")
"""Metrics: means over an update's gradient steps of the terms of `PPOLoss`, but the total."""
STATE_BYTES = 512
"""Room for a generator's state as JSON."""


class PPOLearner:
    """Updates an agent from rollout fragments. The same class inline or as a Ray actor."""

    def __init__(
        self,
        config: PPOSettings,
        spaces: Spaces,
        root_seed: int,
        threads: int,
        optimizer: Callable[[Tensor], Optimizer] = Adam,
    ) -> None:
        self._config, self._spaces = config, spaces
        self._observation = spaces.observation
        self._threads = config.threads or threads
        torch.set_num_threads(self._threads)
        self._agent = Agent(config, spaces, root_seed, optimizer)
        self._generator = Generator(PCG64(derive(root_seed, "minibatches")))
        self._version = 0
        self._shared = Means()
        self.pool: CodedPool | None = None
        """Computes the gradients, if there is one."""
        self._group: Group = Alone()

    def work(self, parts: int | None) -> Work:
        """What a pool of workers has to compute: the gradients of a minibatch's parts."""
        assert parts is not None
        return work_of(self._agent, self._config, self._spaces, parts)

    def join(self, group: Group) -> None:
        """See `SharingLearner`."""
        self._group = group
        self._agent.agree(group)
        # From here on all draw the same orders of minibatches.
        drawing = json.dumps(self._generator.bit_generator.state).encode().ljust(STATE_BYTES)
        told = torch.frombuffer(bytearray(drawing), dtype=torch.uint8)
        group.share(told)
        self._generator.bit_generator.state = json.loads(told.numpy().tobytes())

    def take_part(self) -> None:
        """See `SharingLearner`."""
        size, learning_rate, clip, _ = self._group.hear()
        batch = empty_batch(self._spaces, int(size))
        self._group.share(*batch)
        self._epochs(batch, learning_rate, clip)

    def weights(self) -> Weights:
        """A copy of what acting needs, under the current version."""
        return Weights(self._version, self._agent.acting_arrays())

    def update(self, progress: float, *fragments: Fragment) -> dict[str, float]:
        """One PPO update; `progress` in [0, 1] is how much of the training is over."""
        if self.pool is None:
            return self._update(progress, fragments)
        before = self.state()
        try:
            return self._update(progress, fragments)
        except Interrupted:
            self.restore(before)
            raise

    def _update(self, progress: float, fragments: Sequence[Fragment]) -> dict[str, float]:
        began, config = perf_counter(), self._config
        torch.set_num_threads(self._threads)  # inline, others of this process set their own
        left = 1.0 - min(progress, 1.0) if config.schedule == "linear" else 1.0
        rollout = join(fragments, self._observation)
        if not rollout.valid.any():  # an agent that has left has rows, but no transitions
            self._version += 1
            return {"gradient_steps": 0.0, "frames": 0.0, "update_s": perf_counter() - began}
        learning_rate, clip = config.learning_rate * left, config.clip * left
        losses, frames, explained = self._learn(rollout, learning_rate, clip)
        self._version += 1
        _, *means = torch.stack([torch.stack(loss) for loss in losses]).mean(dim=0).tolist()
        return {
            **dict(zip(MEANS, means, strict=True)),
            "explained_variance": explained,
            "learning_rate": learning_rate,
            "gradient_steps": float(len(losses)),
            "frames": float(frames),
            **self._shared.take(),
            "update_s": perf_counter() - began,
        }

    def _learn(
        self, rollout: Rollout, learning_rate: float, clip: float
    ) -> tuple[list[PPOLoss], int, float]:
        """The losses of each gradient step, the frames in all of them, and how much of the returns'
        variance was explained before.
        """
        batch, explained = self._agent.prepare(rollout, self._targets)
        self._group.tell(len(batch.logp), learning_rate, clip)
        self._group.share(*batch)
        return *self._epochs(batch, learning_rate, clip), explained

    def _targets(self, judged: Judged) -> tuple[Tensor, Tensor, Tensor]:
        """See `agent.Targets`: generalised advantages, and ratios to the policy that acted."""
        rollout, config, values = judged.rollout, self._config, judged.values
        advantages = gae(
            judged.rewards,
            values[:-1],
            values[1:],
            torch.from_numpy(rollout.terminated),
            torch.from_numpy(rollout.cut),
            config.gamma,
            config.gae_lambda,
        )
        return torch.from_numpy(rollout.logp), advantages, advantages + values[:-1]

    def _epochs(self, batch: Batch, learning_rate: float, clip: float) -> tuple[list[PPOLoss], int]:
        """Passes over shuffled minibatches; the losses of each gradient step, and the frames in
        all of them.
        """
        config, size = self._config, len(batch.logp)
        losses: list[PPOLoss] = []
        frames = 0
        for _ in range(config.epochs):
            order = torch.from_numpy(self._generator.permutation(size))
            for first in range(0, size, config.minibatch_size):
                chosen = order[first : first + config.minibatch_size]
                losses.append(self._step(batch, chosen, learning_rate, clip))
                frames += len(chosen)
                if config.target_kl and losses[-1].kl > 1.5 * config.target_kl:
                    return losses, frames
        return losses, frames

    def _step(self, batch: Batch, chosen: Tensor, learning_rate: float, clip: float) -> PPOLoss:
        """One gradient step, on the chosen transitions."""
        config, advantages = self._config, self._scaled(batch.advantages[chosen])
        rows = self._group.rows(len(chosen))
        own = Batch(*(part[chosen[rows]] for part in batch))._replace(advantages=advantages[rows])
        if self.pool is not None:
            gradient, loss = self._gathered(self.pool, own, clip)
        else:
            gradient, loss = self._summed(own, len(own.logp) / len(chosen), clip)
        self._agent.follow(gradient, learning_rate, config.max_grad_norm)
        return loss

    def _scaled(self, advantages: Tensor) -> Tensor:
        """To mean 0 and variance 1, if that is asked for."""
        if not self._config.normalize_advantages or len(advantages) < 2:
            return advantages
        return (advantages - advantages.mean()) / (advantages.std() + 1e-8)

    def _summed(self, own: Batch, part: float, clip: float) -> tuple[Tensor, PPOLoss]:
        """The gradient and the loss's terms, of which `own` rows are this part."""
        config, agent = self._config, self._agent
        if part:
            loss = loss_of(agent, own, clip, config.value_coef, config.entropy_coef)
            gradient = agent.gradient(loss.total * part)
            terms = torch.stack([term.detach() for term in loss]) * part
        else:  # a last minibatch of fewer rows than there are learners
            gradient, terms = torch.zeros_like(agent.parameters), torch.zeros(TERMS)
        self._group.sum(gradient, terms)
        return gradient, PPOLoss(*terms)

    def _gathered(self, pool: CodedPool, batch: Batch, clip: float) -> tuple[Tensor, PPOLoss]:
        """The gradient and the loss's terms, as the pool's workers found them."""
        outcome = pool.iterate(snapshot_of(self._agent, batch, clip, self._config.minibatch_size))
        self._shared.add(outcome.metrics["iteration_s"], **outcome.metrics)
        found = outcome.values if outcome.values.ndim == 1 else outcome.values.sum(axis=0)
        whole = torch.from_numpy(found.astype("f4"))
        return whole[:-TERMS], PPOLoss(*whole[-TERMS:])

    def state(self) -> LearnerState:
        """Copies of everything that later updates depend on."""
        return LearnerState(
            model=self._agent.model(),
            optimizer=self._agent.optimizer(),
            normalizer=self._agent.normalizer(),
            record={
                "version": self._version,
                "generator": self._generator.bit_generator.state,
            },
        )

    def restore(self, state: LearnerState) -> None:
        """Go on exactly from `state`."""
        self._agent.restore(state.model, state.optimizer, state.normalizer)
        self._version = state.record["version"]
        self._generator.bit_generator.state = state.record["generator"]
