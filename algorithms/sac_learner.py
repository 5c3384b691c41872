"""Soft actor-critic's learner: a gradient step on the twin critics, the actor, and the temperature
that keeps the policy's entropy at its target.
"""

import math
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import PCG64, Generator
from torch import Tensor

from covey.algorithms.encoded_batch import EncodedBatch, room_for
from covey.algorithms.fused_adam import FusedAdam, average
from covey.algorithms.learner import LearnerState
from covey.algorithms.learner_group import Alone, Group
from covey.algorithms.means import Means
from covey.algorithms.policy_squashed import action_scale
from covey.algorithms.replay import Replay
from covey.algorithms.replay_memory import Memory
from covey.algorithms.sac import SACConfig
from covey.algorithms.sac_actor import ActorSums
from covey.algorithms.sac_chunks import Data
from covey.algorithms.sac_critics import CriticSums
from covey.algorithms.sac_networks import Networks, Widths
from covey.algorithms.sac_update import Share
from covey.algorithms.shares import Shares
from covey.platform.errors import UserError
from covey.platform.runtime.fragment import Weights
from covey.platform.runtime.interfaces import Arrays
from covey.platform.runtime.spaces import Spaces
from covey.platform.seeds import derive

TWINS = ("critic_1", "critic_2"), ("target_1", "target_2")


class SACLearner:
    """See `ReplayLearner`. The same class inline or as a Ray actor."""

    draws_ahead: ClassVar = False
    """Whether actions are drawn before the critics are there that are to rate them."""

    def __init__(self, config: SACConfig, spaces: Spaces, root_seed: int, threads: int) -> None:
        self.memory = Memory(config, root_seed)
        self._config, self._spaces = config, spaces
        self._center, self._half = action_scale(spaces.action)
        if spaces.observation.is_image:
            raise UserError("sac learns from numbers, not from images")
        widths = Widths(spaces.observation.width, spaces.action.width, config.hidden)
        self._networks = Networks(widths, config.activation)
        self._log_alpha = np.zeros(1, np.float32)
        if config.alpha != "auto":
            self._log_alpha[0] = math.log(config.alpha)
        wanted = config.target_entropy
        self._target_entropy = -float(widths.acting) if wanted == "auto" else wanted
        self._initialize(Generator(PCG64(derive(root_seed, "network"))))
        self._actor_optimizer = FusedAdam(self._networks.actor_vector.numpy())
        self._critic_optimizer = FusedAdam(self._networks.critic_vector.numpy())
        self._alpha_optimizer = FusedAdam(self._log_alpha)
        self._generator = Generator(PCG64(derive(root_seed, "noise")))
        self._means = Means()
        self.updates = 0
        self._threads = min(config.threads or threads, config.batch_size)
        self._group: Group = Alone()
        self._share()

    def _initialize(self, generator: Generator) -> None:
        networks = self._networks
        for net in (networks.actor, *networks.critics):
            net.initialize(generator)
        networks.target_vector.copy_(networks.critic_vector)

    def join(self, group: Group) -> None:
        """See `SharingLearner`."""
        self._group = group
        self._share()
        group.share(*self._networks.vectors)
        for optimizer in (self._actor_optimizer, self._critic_optimizer):
            optimizer.agree(group)

    def _share(self) -> None:
        """Room for minibatches, and each thread's share of this learner's part of it."""
        size, widths = self._config.batch_size, self._networks.widths
        noise = {"noise": np.zeros((2, size, widths.acting), np.float32)}
        room = self._group.common(
            room_for(self._spaces.observation, size, more=widths.acting) | noise
        )
        inputs, following = torch.from_numpy(room["rows"])[:, :, : widths.seen + 1 + widths.acting]
        self._noise, self._errors = room["noise"], room["errors"]
        self._actions = inputs[:, widths.seen + 1 :].numpy()
        self._sampled = EncodedBatch(
            self._spaces.observation,
            inputs[:, : widths.seen].numpy(),
            self._actions,
            following[:, : widths.seen].numpy(),
            room["numbers"],
        )
        self._batch = batch = self._sampled.batch
        self._data = data = Data(
            inputs=inputs,
            next_inputs=following,
            rewards=batch.rewards[:, None],
            discounts=batch.discounts[:, None],
            weights=batch.weights[:, None],
            next_logp=np.zeros((size, 1), np.float32),
            errors=self._errors[:, None],
        )

        def share(first: int, last: int) -> Share:
            noise = self._noise[:, first:last]
            return Share(self._networks, data.rows(first, last), noise, size, self.draws_ahead)

        self._shares = Shares(self._group.rows(size), self._threads, share)

    def weights(self) -> Weights:
        """A copy of what acting needs; its version is the number of gradient steps."""
        return Weights(self.updates, self._networks.actor.arrays("actor"))

    def set_progress(self, env_steps: int, total: int | None) -> None:
        """The importance weights' exponent follows it, nothing else."""
        if total:
            self.memory.set_progress(env_steps / total)

    def update(self, replay: Replay) -> None:
        """One gradient step on everything."""
        began = perf_counter()
        self._gather(replay)
        alpha = math.exp(self._log_alpha[0])
        self._group.tell(alpha)
        critic, actor = self._step(alpha)
        replay.reprioritize(self._batch, self._errors)
        self._move_temperature(actor)
        self.updates += 1
        self._note(perf_counter() - began, alpha, critic, actor)

    def take_part(self) -> None:
        """See `SharingLearner`."""
        alpha, *_ = self._group.hear()
        self._shares.begin()
        self._step(alpha)

    def _step(self, alpha: float) -> tuple[CriticSums, ActorSums]:
        """On the networks. In a group, `alpha` is the first learner's alone."""
        networks = self._networks
        critics = self._shares.each(lambda share: share.critic_step(alpha))
        sums = self._follow(self._critic_optimizer, critics, lambda share: share.critic_gradient)
        actor = self._move_actor(self._shares.each(lambda share: share.actor_step(alpha)))
        tau = np.float32(self._config.tau)
        average(networks.target_vector.numpy(), networks.critic_vector.numpy(), tau)
        return CriticSums(*sums), actor

    def _move_actor(self, sums: Sequence[ActorSums]) -> ActorSums:
        """Follow the shares' gradients."""
        return ActorSums(
            *self._follow(self._actor_optimizer, sums, lambda share: share.actor_gradient)
        )

    def _follow(
        self,
        optimizer: FusedAdam,
        sums: Sequence[tuple[float, float]],
        gradient: Callable[[Share], Tensor],
    ) -> list[float]:
        """A step along the gradient of all threads and all learners; the sums over all of them."""
        summed = self._shares.summed(gradient)
        terms = torch.tensor([sum(one) for one in zip(*sums, strict=True)], dtype=torch.float64)
        self._group.sum(torch.from_numpy(summed), terms)
        optimizer.step(summed, self._config.learning_rate)
        found: list[float] = terms.tolist()
        return found

    def _move_temperature(self, actor: ActorSums) -> None:
        if self._config.alpha == "auto":
            logp = actor.logp / self._config.batch_size
            slope = np.array([-(logp + self._target_entropy)], np.float32)
            self._alpha_optimizer.step(slope, self._config.learning_rate)

    def _gather(self, replay: Replay) -> None:
        """A minibatch, and the noise for its actions."""
        self._shares.begin()
        noise = self._shares.beside(self._draw_noise)  # while this thread gathers
        replay.sample(self._batch)
        self._prepare()
        noise.result()

    def _note(self, elapsed_s: float, alpha: float, critic: CriticSums, actor: ActorSums) -> None:
        """The figures of a step."""
        size = self._config.batch_size
        self._means.add(
            elapsed_s,
            critic_loss=critic.loss / size,
            value=critic.values / size,
            actor_loss=actor.loss / size,
            entropy=-actor.logp / size,
            alpha=alpha,
        )

    def _prepare(self) -> None:
        """The batch as the networks take it."""
        self._sampled.encode()
        self._actions -= self._center
        self._actions /= self._half

    def _draw_noise(self) -> None:
        """For the policy's actions."""
        self._generator.standard_normal(dtype=np.float32, out=self._noise)

    def metrics(self) -> dict[str, float]:
        """Means over the steps since the last call."""
        return self._means.take() | {"updates": float(self.updates)}

    def state(self) -> LearnerState:
        """Copies of everything that later updates depend on."""
        networks, (record, arrays) = self._networks, self.memory.state()
        model = networks.actor.arrays("actor") | {"log_alpha": self._log_alpha.copy()}
        for names, nets in zip(TWINS, (networks.critics, networks.targets), strict=True):
            for name, net in zip(names, nets, strict=True):
                model |= net.arrays(name)
        optimizer: Arrays = dict(arrays)
        for kind, one in self._optimizers().items():
            optimizer |= {f"{kind}.{name}": array for name, array in one.state().items()}
        generator: Any = self._generator.bit_generator.state
        updates = {"updates": self.updates, "version": self.updates}
        return LearnerState(
            model, optimizer, {}, {**updates, "generator": generator, "replay": record}
        )

    def restore(self, state: LearnerState) -> None:
        """Go on exactly from `state`."""
        networks = self._networks
        networks.actor.load("actor", state.model)
        self._log_alpha[:] = state.model["log_alpha"]
        for names, nets in zip(TWINS, (networks.critics, networks.targets), strict=True):
            for name, net in zip(names, nets, strict=True):
                net.load(name, state.model)
        for kind, one in self._optimizers().items():
            start = f"{kind}."
            one.restore(
                {
                    k.removeprefix(start): v
                    for k, v in state.optimizer.items()
                    if k.startswith(start)
                }
            )
        self._generator.bit_generator.state = state.record["generator"]
        self.updates = state.record["updates"]
        self.memory.restore(state.record["replay"], state.optimizer)

    def _optimizers(self) -> dict[str, FusedAdam]:
        return {
            "actor": self._actor_optimizer,
            "critic": self._critic_optimizer,
            "alpha": self._alpha_optimizer,
        }
