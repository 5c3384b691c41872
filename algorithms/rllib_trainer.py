"""RLlib's Algorithm in an actor of its own, so that the driver stays free and takes no CPU."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.algorithms.rllib_build import (
    ENV_STEPS,
    EPISODES,
    Order,
    chain,
    make_config,
    refused,
)
from covey.algorithms.rllib_env import RllibEnv
from covey.algorithms.rllib_figures import MODULE, Iteration, read_result
from covey.algorithms.rllib_tree import Packed, pack, unpack
from covey.algorithms.rllib_variables import read_variables, write_variables
from covey.platform.errors import UserError
from covey.platform.runtime.spaces import Spaces

REPLAY_LIMIT_BYTES = 2**30
"""A replay buffer that takes more is not kept: copying it would stop the training for too long."""
CONNECTORS = {"env_to_module_connector", "module_to_env_connector"}
"""Both a state's keys and attributes of an algorithm whose environments all live in env runners."""


@dataclass(frozen=True)
class TrainerState:
    """All that the rest of a training run depends on.

    `algorithm` is what RLlib calls the algorithm's state, `replay` that of its replay buffer (None
    when there is none, or none that is kept), `model` the networks' weights once more, under their
    names, `variables` what RLlib's state leaves out.
    """

    algorithm: Packed
    replay: Packed | None
    model: dict[str, NDArray[Any]]
    variables: dict[str, NDArray[Any]]


class RllibTrainer:
    """Builds an algorithm, trains it, and gives its state away. Errors of the user are
    UserErrors.
    """

    def __init__(self, order: Order) -> None:
        import torch

        torch.set_num_threads(order.threads)
        env = RllibEnv(order.source)  # what is wrong with it is said before RLlib starts actors
        self._spaces = env.described_spaces
        env.close()  # type: ignore[no-untyped-call]
        config = make_config(order)
        try:
            self._algorithm = config.build_algo()
        except Exception as error:
            if _is_lost_actor(error):
                raise
            raise refused(order.algorithm, error) from error
        # RLlib makes a folder of results in the user's home and leaves it empty.
        shutil.rmtree(self._algorithm.logdir, ignore_errors=True)

    def spaces(self) -> Spaces:
        """Both sides of the environment."""
        return self._spaces

    def has_replay(self) -> bool:
        """Whether the algorithm learns from a replay buffer that RLlib can read out."""
        return hasattr(self._algorithm.local_replay_buffer, "set_state")

    def train(self) -> Iteration:
        """One iteration, as long as RLlib's settings make it."""
        try:
            result = self._algorithm.train()
        except Exception as error:
            for cause in chain(error):
                if isinstance(cause, UserError):
                    raise cause from error
            raise
        return read_result(result, EPISODES, ENV_STEPS)

    def state(self) -> TrainerState:
        """A copy of everything, for a checkpoint."""
        variables = read_variables(self._algorithm.learner_group)
        packed = pack(self._algorithm.get_state())
        return TrainerState(packed, self._replay(), self._model(), variables)

    def restore(
        self, algorithm: Packed, replay: Packed | None, variables: Mapping[str, Any]
    ) -> None:
        """Go on from a state."""
        state = unpack(algorithm.tree, algorithm.arrays)
        self._algorithm.set_state(state)
        for name in CONNECTORS & state.keys():  # RLlib gives them away without taking them back
            getattr(self._algorithm, name).set_state(state[name])
        write_variables(self._algorithm.learner_group, variables)
        if replay is not None:
            held = unpack(replay.tree, replay.arrays)
            self._algorithm.local_replay_buffer.set_state(held)

    def _replay(self) -> Packed | None:
        if not self.has_replay():
            return None
        buffer = self._algorithm.local_replay_buffer
        seen = self._spaces.observation
        row_bytes = np.dtype(seen.dtype).itemsize * int(np.prod(seen.shape)) + 64
        if len(buffer) * row_bytes > REPLAY_LIMIT_BYTES:
            return None
        return pack(buffer.get_state())

    def _model(self) -> dict[str, NDArray[Any]]:
        state = self._algorithm.learner_group.get_state(components="learner/rl_module")
        modules = state["learner"]["rl_module"]
        return {name: np.asarray(array) for name, array in modules[MODULE].items()}


def _is_lost_actor(error: Exception) -> bool:
    from ray.exceptions import RayActorError

    return any(isinstance(cause, RayActorError) for cause in chain(error))
