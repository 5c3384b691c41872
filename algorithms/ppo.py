"""Proximal policy optimisation (Schulman et al. 2017): configuration, loss, learner."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

from numpy.random import PCG64, Generator
from pydantic import Field

from covey.algorithms.learner import Learner, LearnerState
from covey.algorithms.normalizer import RunningMoments
from covey.algorithms.on_policy import OnPolicyTurn
from covey.algorithms.policy import MlpPolicy, acting_arrays
from covey.algorithms.rollout import join
from covey.algorithms.separate import SeparateLearners, SeparatePolicies, joined, states_of
from covey.algorithms.turn import Channels
from covey.platform.errors import KeyProblem
from covey.platform.jobfile.model import Count, JobFile, Positive, Section
from covey.platform.runtime.fragment import Fragment, Weights
from covey.platform.runtime.interfaces import ActingPolicy, Arrays
from covey.platform.runtime.spaces import Spaces
from covey.platform.runtime.stream import StreamSpec
from covey.platform.seeds import derive, derive_int

if TYPE_CHECKING:  # torch is heavy: it waits until a learner is made
    from torch import Tensor

    from covey.algorithms.agent import Batch

Fraction = Annotated[float, Field(ge=0, le=1)]
Coefficient = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PPOConfig(Section):
    """Settings of `algorithm: {name: ppo}`."""

    name: Literal["ppo"]
    learning_rate: Positive = Field(default=3e-4, description="Adam's step size")
    schedule: Literal["constant", "linear"] = Field(
        default="constant", description="linear: learning_rate and clip fall to 0 at stop.env_steps"
    )
    rollout_steps: Count = Field(
        default=256, description="steps of each environment between two updates"
    )
    minibatch_size: Count = Field(default=256, description="transitions in one gradient step")
    epochs: Count = Field(default=10, description="passes over the transitions of one update")
    gamma: Fraction = Field(default=0.99, description="discount of later rewards, per step")
    gae_lambda: Fraction = Field(
        default=0.95, description="0 trusts the value function, 1 the returns"
    )
    clip: Positive = Field(default=0.2, description="how far the probability ratio may leave 1")
    entropy_coef: Coefficient = Field(
        default=0.0, description="weight of the policy's entropy in the loss"
    )
    value_coef: Coefficient = Field(default=0.5, description="weight of the value loss")
    max_grad_norm: Positive = Field(
        default=0.5, description="longer gradients are shortened to this"
    )
    target_kl: Positive | None = Field(
        default=None,
        description="an update ends early once the policy has moved 1.5 times this far",
    )
    normalize_observations: bool = Field(
        default=True, description="to mean 0, variance 1 of all seen"
    )
    normalize_returns: bool = Field(
        default=False, description="scale rewards by the return's deviation"
    )
    normalize_advantages: bool = Field(
        default=True, description="to mean 0, variance 1 a minibatch"
    )
    hidden: tuple[Count, ...] = Field(default=(64, 64), description="widths of the hidden layers")
    activation: Literal["tanh", "relu"] = "tanh"
    share_torso: bool = Field(
        default=False, description="one set of hidden layers for policy and value"
    )
    policies: Literal["shared", "separate"] = Field(
        default="shared", description="one for all agents of an environment, or one for each"
    )
    threads: Count | None = Field(default=None, description="of the learner; by default one a CPU")

    keeps_rows: ClassVar = False
    """Whether rows are learnt from more than once, so that checkpoints hold them."""
    takes_turns: ClassVar = True
    """Whether samplers rest while the learner works."""
    report_steps: ClassVar = 1
    """In deterministic mode a report comes after so many environment steps: here, every update."""

    def check(self, job: JobFile) -> None:
        """Raise KeyProblem for what cannot go together with the rest of the job."""
        if self.schedule == "linear" and job.stop.env_steps is None:
            raise KeyProblem(
                ("rl", "algorithm", "schedule"),
                "a linear schedule needs stop.env_steps to fall towards",
            )

    def make_learner(self, spaces: Spaces, root_seed: int, threads: int) -> Learner:
        """The learner of a job, or of an actor of it."""
        if not self._separate(spaces):
            return PPOLearner(self, spaces, root_seed, threads)
        seeds = (derive_int(root_seed, "policy", agent) for agent in range(spaces.agents))
        return SeparateLearners([PPOLearner(self, spaces, seed, threads) for seed in seeds])

    def make_policy(self, spaces: Spaces) -> ActingPolicy:
        """What samplers and evaluators act with."""
        if not self._separate(spaces):
            return self._one_policy(spaces)
        return SeparatePolicies([self._one_policy(spaces) for _ in range(spaces.agents)])

    def _separate(self, spaces: Spaces) -> bool:
        return self.policies == "separate" and spaces.agents > 1

    def _one_policy(self, spaces: Spaces) -> ActingPolicy:
        if spaces.observation.is_image:
            from covey.algorithms.image_policy import ImagePolicy

            return ImagePolicy(spaces, self.hidden, self.activation)
        return MlpPolicy(spaces, self.activation)

    def acting_arrays(self, spaces: Spaces, learner: LearnerState) -> Arrays:
        """What the policy loads, of a saved learner."""
        if self._separate(spaces):
            return joined([self._acting_arrays(spaces, own) for own in states_of(learner)])
        return self._acting_arrays(spaces, learner)

    def _acting_arrays(self, spaces: Spaces, learner: LearnerState) -> Arrays:
        observed = None
        if self.normalize_observations and not spaces.observation.is_image:
            observed = RunningMoments(spaces.observation.width)
            observed.restore("observations", learner.normalizer)
        return acting_arrays(learner.model, observed)

    def stream_spec(self, columns: int, streams: int, spaces: Spaces) -> StreamSpec:
        """One block is read while the next is written."""
        return StreamSpec(self.rollout_steps, 2, columns, spaces, overwrite=False)

    def make_turn(self, learner: Learner, channels: Channels) -> OnPolicyTurn:
        """What one iteration does."""
        return OnPolicyTurn(learner, channels)


MEANS = ("policy_loss", "value_loss", "entropy", "kl", "clip_fraction")
"""Metrics: means over an update's gradient steps of the terms of `PPOLoss`, but the total."""


class PPOLoss(NamedTuple):
    """The terms of the loss, and how far the policy has moved; scalars."""

    total: Tensor
    policy: Tensor
    value: Tensor
    entropy: Tensor
    kl: Tensor
    clip_fraction: Tensor


def ppo_loss(
    logp: Tensor,
    behaviour_logp: Tensor,
    advantages: Tensor,
    values: Tensor,
    returns: Tensor,
    entropy: Tensor,
    *,
    clip: float,
    value_coef: float,
    entropy_coef: float,
) -> PPOLoss:
    """Clipped surrogate (eq. 7), squared value error and entropy bonus (eq. 9). All arguments [N].

    `kl` is the low-variance estimate E[(ratio - 1) - log ratio] of KL(behaviour || policy).
    """
    log_ratio = logp - behaviour_logp
    ratio = log_ratio.exp()
    surrogate = (ratio * advantages).minimum(ratio.clamp(1 - clip, 1 + clip) * advantages)
    policy, value = -surrogate.mean(), 0.5 * (values - returns).square().mean()
    mean_entropy = entropy.mean()
    moved = ratio.detach() - 1
    return PPOLoss(
        total=policy + value_coef * value - entropy_coef * mean_entropy,
        policy=policy.detach(),
        value=value.detach(),
        entropy=mean_entropy.detach(),
        kl=(moved - log_ratio.detach()).mean(),
        clip_fraction=(moved.abs() > clip).to(moved.dtype).mean(),
    )


class PPOLearner:
    """Updates an agent from rollout fragments. The same class inline or as a Ray actor."""

    def __init__(self, config: PPOConfig, spaces: Spaces, root_seed: int, threads: int) -> None:
        import torch

        from covey.algorithms.agent import Agent

        self._config = config
        self._observation = spaces.observation
        self._threads = config.threads or threads
        torch.set_num_threads(self._threads)
        self._agent = Agent(config, spaces, root_seed)
        self._generator = Generator(PCG64(derive(root_seed, "minibatches")))
        self._version = 0

    def weights(self) -> Weights:
        """A copy of what acting needs, under the current version."""
        return Weights(self._version, self._agent.acting_arrays())

    def update(self, progress: float, *fragments: Fragment) -> dict[str, float]:
        """One PPO update; `progress` in [0, 1] is how much of the training is over."""
        import torch

        began, config = perf_counter(), self._config
        torch.set_num_threads(self._threads)  # inline, others of this process set their own
        batch, explained = self._agent.prepare(join(fragments, self._observation))
        left = 1.0 - min(progress, 1.0) if config.schedule == "linear" else 1.0
        losses, frames = self._epochs(batch, config.learning_rate * left, config.clip * left)
        self._version += 1
        _, *means = torch.stack([torch.stack(loss) for loss in losses]).mean(dim=0).tolist()
        return {
            **dict(zip(MEANS, means, strict=True)),
            "explained_variance": explained,
            "learning_rate": config.learning_rate * left,
            "gradient_steps": float(len(losses)),
            "frames": float(frames),
            "update_s": perf_counter() - began,
        }

    def _epochs(self, batch: Batch, learning_rate: float, clip: float) -> tuple[list[PPOLoss], int]:
        """Passes over shuffled minibatches; the losses of each gradient step, and the frames in
        all of them.
        """
        import torch

        from covey.algorithms.agent import Batch

        config, size = self._config, len(batch.logp)
        losses: list[PPOLoss] = []
        frames = 0
        for _ in range(config.epochs):
            order = torch.from_numpy(self._generator.permutation(size))
            for first in range(0, size, config.minibatch_size):
                chosen = order[first : first + config.minibatch_size]
                minibatch = Batch(*(part[chosen] for part in batch))
                losses.append(self._step(minibatch, learning_rate, clip))
                frames += len(chosen)
                if config.target_kl and losses[-1].kl > 1.5 * config.target_kl:
                    return losses, frames
        return losses, frames

    def _step(self, batch: Batch, learning_rate: float, clip: float) -> PPOLoss:
        """One gradient step."""
        config, advantages = self._config, batch.advantages
        if config.normalize_advantages and len(advantages) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        logp, entropy, values = self._agent.network.evaluate(batch.features, batch.actions)
        loss = ppo_loss(
            logp,
            batch.logp,
            advantages,
            values,
            batch.returns,
            entropy,
            clip=clip,
            value_coef=config.value_coef,
            entropy_coef=config.entropy_coef,
        )
        self._agent.descend(loss.total, learning_rate, config.max_grad_norm)
        return loss._replace(total=loss.total.detach())

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
