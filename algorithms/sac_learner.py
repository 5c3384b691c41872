"""Soft actor-critic's learner: a gradient step on the twin critics, the actor, and the temperature
that keeps the policy's entropy at its target.
"""

import math
from time import perf_counter
from typing import Any

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
from covey.algorithms.sac_shares import Shares
from covey.algorithms.sac_update import ActorSums, CriticSums, Data, Networks, Widths
from covey.platform.errors import UserError
from covey.platform.runtime.fragment import Weights
from covey.platform.runtime.interfaces import Arrays
from covey.platform.runtime.spaces import Spaces
from covey.platform.seeds import derive

TWINS = ("critic_1", "critic_2"), ("target_1", "target_2")


class SACLearner:
    """See `ReplayLearner`. The same class inline or as a Ray actor, alone or in a group."""

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
        self._take_room()

    def _initialize(self, generator: Generator) -> None:
        networks = self._networks
        for net in (networks.actor, *networks.critics):
            net.initialize(generator)
        networks.target_vector.copy_(networks.critic_vector)

    def join(self, group: Group) -> None:
        """See `SharingLearner`."""
        self._group = group
        self._take_room()
        group.share(*self._networks.vectors)
        for optimizer in (self._actor_optimizer, self._critic_optimizer):
            optimizer.agree(group)

    def _take_room(self) -> None:
        """For minibatches, and for this learner's part of them."""
        size, widths = self._config.batch_size, self._networks.widths
        seen, acting = widths.seen, widths.acting
        noise = {"noise": np.zeros((2, size, acting), np.float32)}
        room = self._group.common(room_for(self._spaces.observation, size, more=acting) | noise)
        inputs, following = torch.from_numpy(room["rows"])[:, :, : seen + 1 + acting]
        self._noise, self._errors = room["noise"], room["errors"]
        self._actions = inputs[:, seen + 1 :].numpy()
        self._sampled = EncodedBatch(
            self._spaces.observation,
            inputs[:, :seen].numpy(),
            self._actions,
            following[:, :seen].numpy(),
            room["numbers"],
        )
        self._batch = batch = self._sampled.batch
        noise_now, next_noise = self._noise
        data = Data(
            inputs=inputs,
            next_inputs=following,
            rewards=batch.rewards[:, None],
            discounts=batch.discounts[:, None],
            weights=batch.weights[:, None],
            noise=noise_now,
            next_noise=next_noise,
            errors=self._errors[:, None],
        )
        own = self._group.rows(size)
        self._shares = Shares(self._networks, data.rows(own.start, own.stop), size, self._threads)

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
        torch.set_num_threads(
            self._shares.torch_threads
        )  # inline, others of this process set their own
        noise = self._shares.meanwhile(self._draw_noise)  # while this thread gathers
        replay.sample(self._batch)
        self._prepare()
        noise.result()
        alpha, size = math.exp(self._log_alpha[0]), self._config.batch_size
        self._group.tell(alpha)
        critic, actor = self._step(alpha)
        replay.reprioritize(self._batch, self._errors)
        logp = actor.logp / size
        if self._config.alpha == "auto":
            slope = np.array([-(logp + self._target_entropy)], np.float32)
            self._alpha_optimizer.step(slope, self._config.learning_rate)
        self.updates += 1
        self._means.add(
            perf_counter() - began,
            critic_loss=critic.loss / size,
            value=critic.values / size,
            actor_loss=actor.loss / size,
            entropy=-logp,
            alpha=alpha,
        )

    def take_part(self) -> None:
        """See `SharingLearner`."""
        alpha, *_ = self._group.hear()
        torch.set_num_threads(self._shares.torch_threads)
        self._step(alpha)

    def _step(self, alpha: float) -> tuple[CriticSums, ActorSums]:
        """On the networks. In a group, `alpha` is the first learner's alone."""
        step, networks = self._config.learning_rate, self._networks
        gradient, critic = self._shares.critic_step(alpha)
        critic = CriticSums(*self._summed(gradient, critic))
        self._critic_optimizer.step(gradient.numpy(), step)
        gradient, actor = self._shares.actor_step(alpha)
        actor = ActorSums(*self._summed(gradient, actor))
        self._actor_optimizer.step(gradient.numpy(), step)
        tau = np.float32(self._config.tau)
        average(networks.target_vector.numpy(), networks.critic_vector.numpy(), tau)
        return critic, actor

    def _summed(self, gradient: Tensor, sums: tuple[float, float]) -> list[float]:
        """Over all learners: the gradient in its place, and the sums."""
        terms = torch.tensor(sums, dtype=torch.float64)
        self._group.sum(gradient, terms)
        found: list[float] = terms.tolist()
        return found

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
