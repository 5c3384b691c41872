"""Local steps of peers on their own samples: of all of them side by side, or of one alone."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from covey.federation.apps.batched import Beside, Descent, Weights, train_together
from covey.federation.apps.local_sgd import step_of
from covey.federation.apps.minibatches import Plan, plan_of
from covey.federation.p2p.links import Rows
from covey.federation.p2p.task import Task, views
from covey.federation.running import has_gradient
from covey.platform.runs.run import Checkpoint, Part
from covey.platform.seeds import derive_int

STATE, VELOCITY = "velocity.safetensors", "velocity"


class Trainer:
    """Stochastic gradient descent with momentum: m <- momentum m + g, w <- w - rate m + lean,
    where lean is the affinity's share of a step. A peer's numbers depend on nobody else.
    `velocity` [n, D] is minus rate times m, None without momentum.
    """

    def __init__(self, task: Task, peers: Sequence[int]) -> None:
        self._task, self._peers = task, peers
        self._images, self._labels = task.training_data()
        assert task.section.local is not None  # the section is resolved
        self._local = task.section.local
        self._generator = torch.Generator()
        self.velocity: Rows | None = None
        if self._local.momentum:
            self.velocity = np.zeros((len(peers), task.vector_size), task.dtype)

    def train(self, params: Rows, round_: int, pull: Rows | None) -> NDArray[np.float64]:
        """A round's steps, in place: params, pull [n, D]. Returns each peer's mean loss [n]."""
        plans = [self._plan(peer, round_) for peer in self._peers]
        # Those with most steps first, as `train_together` wants them.
        order = sorted(range(len(plans)), key=lambda place: -len(plans[place].sizes))
        if order == list(range(len(plans))):
            return self._train(params, self.velocity, plans, pull)
        block = params[order]
        velocity = None if self.velocity is None else self.velocity[order]
        leans = None if pull is None else pull[order]
        losses = np.empty(len(plans))
        losses[order] = self._train(block, velocity, [plans[place] for place in order], leans)
        params[order] = block
        if self.velocity is not None and velocity is not None:
            self.velocity[order] = velocity
        return losses

    def kept(self) -> dict[str, Part]:
        """What the peers keep, a copy."""
        return {} if self.velocity is None else {STATE: {VELOCITY: self.velocity.copy()}}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from what was kept."""
        if self.velocity is not None:
            self.velocity = np.array(checkpoint.arrays(STATE)[VELOCITY])

    def _train(
        self, params: Rows, velocity: Rows | None, plans: Sequence[Plan], pull: Rows | None
    ) -> NDArray[np.float64]:
        rate = self._local.learning_rate
        momentum = {} if velocity is None else self._trained(velocity)
        way = Descent(rate, self._local.momentum, momentum)
        beside = Beside(corrections={} if pull is None else self._leans(pull, plans))
        losses, _ = train_together(
            step_of(self._task.settings),
            views(params, self._task.shapes),
            plans,
            self._images,
            self._labels,
            way,
            beside,
        )
        return losses.double().numpy()

    def _leans(self, pull: Rows, plans: Sequence[Plan]) -> Weights:
        """What is taken, rate times, from the weights at every step."""
        affinity = self._task.section.affinity
        assert affinity is not None
        steps = np.array([[len(plan.sizes)] for plan in plans])
        leans = pull * (-affinity / self._local.learning_rate / steps).astype(pull.dtype)
        return self._trained(leans)

    def _trained(self, vectors: Rows) -> Weights:
        """As arrays by name, those that descend."""
        arrays = views(vectors, self._task.shapes)
        return {name: array for name, array in arrays.items() if has_gradient(name)}

    def _plan(self, peer: int, round_: int) -> Plan:
        """Passes over the peer's samples, each in a new order."""
        mine, local = self._task.parts[peer], self._local
        self._generator.manual_seed(derive_int(self._task.seed, "peer's steps", round_, peer))
        steps = local.steps or 0
        count = local.epochs or -(-steps // -(-len(mine) // local.batch_size))
        orders = [torch.randperm(len(mine), generator=self._generator) for _ in range(count)]
        return plan_of([mine[order] for order in orders], local.batch_size, steps)
