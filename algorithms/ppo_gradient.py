"""PPO's gradient in parts, for a pool of workers: each minibatch is cut in equal parts, and its
gradient is the sum of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from covey.algorithms.agent import Agent, AgentConfig, Batch
from covey.algorithms.coded import Work
from covey.algorithms.ppo_loss import PPOLoss, loss_of
from covey.platform.runtime.spaces import Spaces

TERMS = len(PPOLoss._fields)


class GradientConfig(AgentConfig, Protocol):
    """The settings that a gradient depends on."""

    value_coef: float
    entropy_coef: float

    @property
    def minibatch_size(self) -> int: ...
    @property
    def clip(self) -> float: ...


class GradientPart:
    """See `Tasks`. A result is a part's gradient [P], and its parts of the loss's terms."""

    def __init__(self, config: GradientConfig, spaces: Spaces, parts: int) -> None:
        torch.set_num_threads(1)
        self._config, self._parts = config, parts
        self._agent = Agent(config, spaces, 0)

    def compute(self, snapshot: Mapping[str, NDArray[Any]], task: int) -> NDArray[np.float32]:
        """Of one part of the snapshot's minibatch."""
        config, size = self._config, int(snapshot["size"][0])
        first, last = (size * edge // self._parts for edge in (task, task + 1))
        if first == last:
            return np.zeros(len(snapshot["parameters"]) + TERMS, np.float32)
        self._agent.parameters.copy_(torch.from_numpy(snapshot["parameters"]))
        rows = (torch.from_numpy(snapshot[name][first:last]) for name in Batch._fields)
        clip = float(snapshot["clip"][0])
        loss = loss_of(self._agent, Batch(*rows), clip, config.value_coef, config.entropy_coef)
        part = (last - first) / size
        gradient = self._agent.gradient(loss.total * part)
        terms = torch.stack([term.detach() for term in loss]) * part
        return np.concatenate([gradient.numpy(), terms.numpy()])


def work_of(agent: Agent, config: GradientConfig, spaces: Spaces, parts: int) -> Work:
    """What a pool has to compute of each minibatch."""
    size, observation = config.minibatch_size, spaces.observation
    seen = observation.encode(np.zeros((size, *observation.shape), observation.dtype))
    numbers = torch.zeros(size)
    actions = torch.from_numpy(spaces.action.empty(size))
    batch = Batch(torch.from_numpy(seen), actions, numbers, numbers, numbers)
    template = snapshot_of(agent, batch, config.clip, size)
    result = np.zeros(len(template["parameters"]) + TERMS, np.float32)
    tasks = partial(GradientPart, config, spaces, parts)
    return Work(parts, tasks, template, result, sums=True)


def snapshot_of(agent: Agent, batch: Batch, clip: float, room: int) -> dict[str, NDArray[Any]]:
    """What a gradient is a function of, in arrays with room for so many transitions."""
    arrays = {"parameters": agent.parameters.numpy(), "clip": np.array([clip])}
    for name, part in zip(Batch._fields, batch, strict=True):
        rows = part.numpy()
        if len(rows) < room:
            rows = np.concatenate([rows, np.zeros((room - len(rows), *rows.shape[1:]), rows.dtype)])
        arrays[name] = rows
    return {**arrays, "size": np.array([len(batch.logp)])}
