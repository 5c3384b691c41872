"""Learners of a group in processes of their own, each of which does the same cases in turn."""

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import torch
from conftest import CONTINUOUS, DISCRETE, make_stream, write

from covey.algorithms.apex import ApexConfig
from covey.algorithms.appo import APPOConfig
from covey.algorithms.dqn import DQNConfig
from covey.algorithms.impala import ImpalaConfig
from covey.algorithms.joined_group import JoinedGroup
from covey.algorithms.ppo import PPOConfig
from covey.algorithms.sac import SACConfig
from covey.platform.runtime.fragment import Episodes, Fragment, Rows
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces

UPDATES = 50
IMAGES = Spaces(
    ObservationSpec("numeric", (2, 40, 40), "uint8"),
    ActionSpec("discrete", (), "int64", choices=4),
)


def fragment(spaces, seed, steps=10, count=5):
    """Random rows; the last of all is no transition, so that minibatches are uneven."""
    generator = np.random.default_rng(seed)
    rows = Rows.allocate(steps, count, spaces)
    if spaces.observation.is_image:
        rows.observations[...] = generator.integers(256, size=rows.observations.shape)
    else:
        rows.observations[...] = generator.normal(size=rows.observations.shape)
    if spaces.action.kind == "discrete":
        rows.actions[...] = generator.integers(4, size=rows.actions.shape)
    else:
        rows.actions[...] = generator.normal(size=rows.actions.shape)
    rows.logp[...] = -1.4
    rows.rewards[...] = generator.normal(size=rows.rewards.shape)
    rows.valid[...] = True
    rows.valid[-1, -1] = False
    rows.terminated[...] = rows.truncated[...] = False
    return Fragment(rows, Episodes(np.zeros(0), np.zeros(0, np.int64)), 0, 0.0, 0.0)


class OnPolicy:
    """Updates from random rollouts; `config` is that of an algorithm that learns from them."""

    def __init__(self, config, spaces=DISCRETE, updates=UPDATES):
        self.config, self.spaces, self.updates = config, spaces, updates

    def begin(self, seed):
        self.learner = self.config.make_learner(self.spaces, seed, 1)

    def update(self, number):
        parts = [fragment(self.spaces, 2 * number + k) for k in range(2)]
        self.learner.update(0.0, *parts)


class Replayed:
    """Gradient steps on random transitions; `config` is that of an algorithm with replay."""

    updates = UPDATES

    def __init__(self, config, spaces):
        self.config, self.spaces = config, spaces

    def begin(self, seed):
        self.learner = self.config.make_learner(self.spaces, seed, 1)
        stream = make_stream(8, 10, 2, self.spaces)
        write(stream, 6, np.random.default_rng(0))
        self.replay = self.learner.memory.open([stream], [])

    def update(self, number):
        self.learner.update(self.replay)


def ppo(**settings):
    return PPOConfig(name="ppo", **({"minibatch_size": 21, "epochs": 1} | settings))


SMALL = {"batch_size": 31, "hidden": (16, 16), "buffer_size": 500}
CASES = {
    "ppo": OnPolicy(ppo(hidden=(16,), target_kl=1.0)),
    "ppo, continuous": OnPolicy(ppo(hidden=(16,), share_torso=True), CONTINUOUS),
    "ppo, images": OnPolicy(ppo(hidden=(16,)), IMAGES, updates=2),
    "impala": OnPolicy(ImpalaConfig(name="impala", hidden=(16,))),
    "appo": OnPolicy(APPOConfig(name="appo", minibatch_size=21, epochs=1, hidden=(16,))),
    "sac": Replayed(SACConfig(name="sac", **SMALL, prioritized=True), CONTINUOUS),
    "dqn": Replayed(
        DQNConfig(name="dqn", **SMALL, prioritized=True, dueling=True, target_every=7), DISCRETE
    ),
    "apex": Replayed(ApexConfig(name="apex", **SMALL, target_every=7), DISCRETE),
}


def arrays_of(learner):
    state = learner.state()
    return {**state.model, **{f"optimizer {k}": v for k, v in state.optimizer.items()}}


def alone(case):
    """What one learner learns."""
    case.begin(3)
    for number in range(case.updates):
        case.update(number)
    return arrays_of(case.learner)


def learn(folder, rank, count, names):
    """One learner's part of some cases; what it learns, by case, and where it listens."""
    torch.set_num_threads(1)
    group, found = JoinedGroup(Path(folder), rank, count), {}
    heard = [c.laddr.ip for c in psutil.Process().net_connections() if c.status == "LISTEN"]
    for name in names:
        case = CASES[name]
        case.begin(3 if rank == 0 else 99)  # whatever the others begin with
        case.learner.join(group)
        for number in range(case.updates):
            if rank == 0:
                case.update(number)
            else:
                case.learner.take_part()
        found[name] = arrays_of(case.learner)
    return found, heard


def in_processes(count, names):
    """`learn` of all learners of a group."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(count, context) as processes:
        parts = [processes.submit(learn, folder, rank, count, names) for rank in range(count)]
        return [part.result(1200) for part in parts]
