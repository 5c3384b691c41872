"""MADDPG's learner: all agents' updates from one snapshot of all of them."""

from collections.abc import Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray

from covey.algorithms.coded import Work
from covey.algorithms.joint_replay import JointBatch, JointReplay
from covey.algorithms.learner import LearnerState
from covey.algorithms.maddpg import MADDPGConfig
from covey.algorithms.maddpg_row import Row, acting_arrays
from covey.algorithms.maddpg_update import AgentUpdate, UpdateSettings
from covey.algorithms.means import Means
from covey.algorithms.policy_squashed import action_scale
from covey.algorithms.replay import Replay
from covey.algorithms.replay_memory import Memory
from covey.algorithms.replay_source import Stream
from covey.platform.coding.pool import CodedPool
from covey.platform.errors import UserError
from covey.platform.runtime.fragment import Weights
from covey.platform.runtime.interfaces import Arrays
from covey.platform.runtime.spaces import Spaces
from covey.platform.seeds import derive, derive_int


class MADDPGLearner:
    """See `ReplayLearner`. Every agent has its own actor and a critic that sees everybody."""

    def __init__(self, config: MADDPGConfig, spaces: Spaces, root_seed: int, threads: int) -> None:
        if spaces.observation.is_image:
            raise UserError("maddpg learns from numbers, not from images")
        self.memory = JointMemory(config, root_seed, spaces)
        self.agents = spaces.agents
        self._config, self._spaces = config, spaces
        self.row = config.row(spaces)
        generator = Generator(PCG64(derive(root_seed, "network")))
        self._rows = np.stack([self.row.initial(generator) for _ in range(self.agents)])
        self._settings = settings(config, spaces, root_seed)
        self._update = AgentUpdate(self._settings)
        self._means = Means()
        self.updates = 0
        self.pool: CodedPool | None = None
        """Computes the updates, if there is one."""

    def work(self, parts: int | None = None) -> Work:
        """What a pool of workers has to compute: a task is an agent's update."""
        batch = JointBatch.allocate(self._config.batch_size, self.agents, self._spaces)
        update = partial(AgentUpdate, self._settings)
        return Work(self.agents, update, self._snapshot(batch), self._rows[0])

    def weights(self) -> Weights:
        """A copy of what acting needs."""
        return Weights(self.updates, acting_arrays(self._model()))

    def set_progress(self, env_steps: int, total: int | None) -> None:
        """Nothing is scheduled."""

    def update(self, replay: Replay) -> None:
        """One gradient step of every agent."""
        assert isinstance(replay, JointReplay)
        began = perf_counter()
        snapshot = self._snapshot(replay.sample_joint(self._config.batch_size))
        figures = self._compute(snapshot)
        self.updates += 1
        self._means.add(perf_counter() - began, **figures)

    def _compute(self, snapshot: Mapping[str, NDArray[Any]]) -> Mapping[str, float]:
        """All agents' next rows, and what the pool says of them."""
        if self.pool is None:
            rows = [self._update.compute(snapshot, k) for k in range(self.agents)]
            self._rows = np.stack(rows)
            return {}
        outcome = self.pool.iterate(snapshot)
        self._rows = as_rows(outcome.values, self.row)
        return outcome.metrics

    def _snapshot(self, batch: JointBatch) -> dict[str, NDArray[Any]]:
        """What the updates are a function of."""
        seen = self._spaces.observation
        shape = len(batch.rewards), self.agents, seen.width
        flat = (-1, *seen.shape)
        return {
            "number": np.array([self.updates]),
            "rows": self._rows,
            "observations": seen.encode(batch.observations.reshape(flat)).reshape(shape),
            "actions": self._encoded(batch.actions),
            "rewards": batch.rewards,
            "ended": batch.terminated.astype(np.float32),
            "next_observations": seen.encode(batch.next_observations.reshape(flat)).reshape(shape),
        }

    def _encoded(self, actions: NDArray[Any]) -> NDArray[np.float32]:
        """As the critics see them [N, A, K]: one of `choices`, or numbers in [-1, 1]."""
        action = self._spaces.action
        if action.kind == "discrete":
            chosen = actions.reshape(len(actions), self.agents)
            one_hot: NDArray[np.float32] = np.eye(action.choices, dtype=np.float32)[chosen]
            return one_hot
        center, half = action_scale(action, "maddpg")
        inside: NDArray[np.float32] = (actions - center) / half
        return inside

    def metrics(self) -> dict[str, float]:
        """Means over the steps since the last call."""
        return self._means.take() | {"updates": float(self.updates)}

    def _model(self) -> Arrays:
        """Copies of all networks."""
        found: Arrays = {}
        for agent, row in enumerate(self._rows):
            found |= self.row.arrays(agent, row)
        return found

    def state(self) -> LearnerState:
        """Copies of everything that later updates depend on."""
        record, arrays = self.memory.state()
        return LearnerState(
            self._model(),
            {"averages": self._rows[:, self.row.learnt :].copy(), **arrays},
            {},
            {"updates": self.updates, "version": self.updates, "replay": record},
        )

    def restore(self, state: LearnerState) -> None:
        """Go on exactly from `state`."""
        self._rows[:, self.row.learnt :] = state.optimizer["averages"]
        for agent, row in enumerate(self._rows):
            self.row.load(agent, state.model, row)
        self.updates = state.record["updates"]
        self.memory.restore(state.record["replay"], state.optimizer)


def as_rows(decoded: NDArray[Any], row: Row) -> NDArray[np.float32]:
    """All agents' rows, as a pool decoded them."""
    rows: NDArray[np.float32] = decoded.astype(np.float32)
    for average in row.squares():  # decoded zeros may lie a little below
        np.maximum(rows[:, average], 0, out=rows[:, average])
    return rows


def settings(config: MADDPGConfig, spaces: Spaces, root_seed: int) -> UpdateSettings:
    """What every update of a job has in common."""
    return UpdateSettings(
        row=config.row(spaces),
        discrete=spaces.action.kind == "discrete",
        learning_rate=config.learning_rate,
        gamma=config.gamma,
        tau=config.tau,
        max_norm=config.max_grad_norm,
        head_penalty=config.head_penalty,
        seed=derive_int(root_seed, "updates"),
    )


class JointMemory(Memory):
    """See `Memory`."""

    def __init__(self, config: MADDPGConfig, root_seed: int, spaces: Spaces) -> None:
        super().__init__(config, root_seed)
        self._spaces = spaces

    def _make(self, streams: Sequence[Stream], archives: Sequence[Stream]) -> Replay:
        generator = Generator(PCG64(derive(self._root_seed, "replay")))
        size = self._config.buffer_size * self._spaces.agents
        return JointReplay(streams, archives, size, generator, self._spaces)
