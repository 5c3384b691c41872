"""SAC's learner with its critics in a process of their own (Spreeze, arXiv 2312.06126).

This process has the replay, the actor and the temperature, the other one the critics and their
targets. What travels are the minibatch with its next actions and their log-probabilities in one
direction, the critics with the rows' errors in the other. The slopes of the critics by the actions
are computed here, from a copy of the critics: so each process has about half of the products.
"""

import math
from dataclasses import dataclass
from time import perf_counter
from typing import ClassVar

from covey.algorithms.learner import LearnerState
from covey.algorithms.replay import Replay
from covey.algorithms.sac import SACConfig
from covey.algorithms.sac_actor import ActorSums
from covey.algorithms.sac_board import BoardSpec
from covey.algorithms.sac_critics import CriticSums
from covey.algorithms.sac_critics_away import CriticsAway
from covey.algorithms.sac_learner import SACLearner
from covey.platform.runtime.crew import Crew
from covey.platform.runtime.spaces import Spaces


@dataclass(frozen=True)
class Step:
    """What is known of a step while the critics are still at it."""

    replay: Replay
    alpha: float
    actor: ActorSums
    elapsed_s: float


class SplitSACLearner(SACLearner):
    """`delay` 0: the numbers of one process that has so many threads, bit for bit. Each of the two
    has all of them, since it waits for the other most of the time.

    1: the actor's step k goes by the critics as they were after step k-1, and both are at work at
    the same time, on half of the threads each.
    """

    draws_ahead: ClassVar = True

    def __init__(
        self,
        config: SACConfig,
        spaces: Spaces,
        root_seed: int,
        threads: int,
        delay: int,
        crew: Crew,
    ) -> None:
        threads = min(config.threads or threads, config.batch_size)
        own = max(1, threads // 2) if delay else threads
        there = max(1, threads - own) if delay else threads
        super().__init__(config.model_copy(update={"threads": own}), spaces, root_seed, threads=own)
        networks = self._networks
        spec = BoardSpec(networks.widths, networks.activation, config.batch_size)
        self._away = CriticsAway(crew, config, there, spec, self._data)
        self._away.give(networks, self._critic_optimizer)
        self._delay = delay
        self._under_way: Step | None = None

    def update(self, replay: Replay) -> None:
        """See `SACLearner`."""
        began = perf_counter()
        if self._config.prioritized:
            self._settle()  # the errors have a part in what is sampled next
        self._gather(replay)
        self._shares.each(lambda share: share.actor.follow())
        self._settle()
        alpha = math.exp(self._log_alpha[0])
        self._away.begin(alpha)
        self._shares.each(lambda share: share.actor.draw())
        critics = None if self._delay else self._end(replay)
        actor = self._move_actor(self._shares.each(lambda share: share.actor.descend(alpha)))
        self._move_temperature(actor)
        self.updates += 1
        elapsed_s = perf_counter() - began
        if critics is None:
            self._under_way = Step(replay, alpha, actor, elapsed_s)
        else:
            self._note(elapsed_s, alpha, critics, actor)

    def _settle(self) -> None:
        """Wait until the critics have made their part of a step that is under way."""
        if self._under_way is not None:
            step, self._under_way = self._under_way, None
            self._note(step.elapsed_s, step.alpha, self._end(step.replay), step.actor)

    def _end(self, replay: Replay) -> CriticSums:
        """What became of the critics in the step that was begun last."""
        sums = self._away.end(self._networks.critic_vector.numpy())
        replay.reprioritize(self._batch, self._errors)
        return sums

    def metrics(self) -> dict[str, float]:
        self._settle()
        return super().metrics()

    def state(self) -> LearnerState:
        self._settle()
        self._away.take(self._networks, self._critic_optimizer)
        return super().state()

    def restore(self, state: LearnerState) -> None:
        self._settle()
        super().restore(state)
        self._away.give(self._networks, self._critic_optimizer)

    def close(self) -> None:
        """End the other process."""
        self._away.close()
