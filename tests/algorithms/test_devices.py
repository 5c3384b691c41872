"""SAC with its critics in another process, against SAC in one."""

import json
import math
import os
import signal

import numpy as np
import psutil
import pytest
from critic_crews import Processes, Threads
from started_job import actors_of, lines, start, wait_for

from covey.algorithms import sac_chunks, shares
from covey.algorithms.fused_adam import average
from covey.algorithms.sac import SACConfig
from covey.algorithms.sac_learner import SACLearner
from covey.algorithms.sac_split import SplitSACLearner
from covey.algorithms.workload import WORKLOAD
from covey.platform.errors import JobFileError
from covey.platform.jobfile.load import parse_job_file
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.run import Run
from covey.platform.runtime import pulse
from covey.platform.runtime.crew import WorkerLost
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces

CONTINUOUS = Spaces(
    ObservationSpec("numeric", (3,), "float32"),
    ActionSpec("continuous", (2,), "float32", low=(-2.0, -1.0), high=(2.0, 3.0)),
)
SMALL = {"name": "sac", "batch_size": 30, "hidden": (16, 16), "buffer_size": 500}
UPDATES = 100


@pytest.fixture
def pair(rings):
    """Makes a learner that is ready to learn: of one process, or split with this `delay`."""
    split = []

    def pair(kind=SACLearner, threads=1, crew=None, delay=0, **settings):
        config = SACConfig(**(SMALL | settings))
        if kind is SplitSACLearner:
            crew = crew or Threads()
            learner = kind(config, CONTINUOUS, 3, threads, delay, crew)
            split.append(learner)
        else:
            learner = kind(config, CONTINUOUS, 3, threads)
        stream = rings.make_stream(8, 10, 2, CONTINUOUS)
        rings.write(stream, 6, np.random.default_rng(0))
        return learner, learner.memory.open([stream], [])

    yield pair
    for learner in split:
        learner.close()


class HeldBack(SACLearner):
    """The delayed update as one process makes it: the actor's step goes by the critics of before
    the critics' one.
    """

    def update(self, replay):
        critics, targets = self._networks.critic_vector, self._networks.target_vector
        self._gather(replay)
        alpha, before = math.exp(self._log_alpha[0]), critics.clone()
        self._shares.each(lambda share: share.critic_step(alpha))
        gradient = self._shares.summed(lambda share: share.critic_gradient)
        self._critic_optimizer.step(gradient, self._config.learning_rate)
        replay.reprioritize(self._batch, self._errors)
        after = critics.clone()
        average(targets.numpy(), critics.numpy(), np.float32(self._config.tau))
        critics.copy_(before)
        actor = self._move_actor(self._shares.each(lambda share: share.actor_step(alpha)))
        self._move_temperature(actor)
        critics.copy_(after)
        self.updates += 1


def learn(learner, replay, updates=UPDATES):
    for update in range(updates):
        learner.set_progress(update, UPDATES)
        learner.update(replay)
    return learner.state()


def check_equal(ours, theirs):
    """Bit for bit: parameters, optimizers, priorities, and the states of generators."""
    assert ours.record == theirs.record
    for kind in ("model", "optimizer"):
        mine, its = getattr(ours, kind), getattr(theirs, kind)
        assert mine.keys() == its.keys()
        for name in mine:
            np.testing.assert_array_equal(mine[name], its[name], err_msg=name)


@pytest.mark.parametrize("prioritized", [False, True])
@pytest.mark.parametrize(("threads", "chunk", "rows"), [(1, 4096, 1024), (2, 7, 1024), (3, 4, 10)])
def test_the_split_one_has_the_numbers_of_one_process(
    pair, monkeypatch, threads, chunk, rows, prioritized
):
    """100 updates, in several shares and chunks."""
    monkeypatch.setattr(sac_chunks, "CHUNK", chunk)
    monkeypatch.setattr(shares, "SHARE_ROWS", rows)
    ours, theirs = (
        pair(kind, threads, prioritized=prioritized) for kind in (SplitSACLearner, SACLearner)
    )
    check_equal(learn(*ours), learn(*theirs))
    told, expected = ours[0].metrics(), theirs[0].metrics()
    del told["update_s"], expected["update_s"]
    assert told == pytest.approx(expected)


@pytest.mark.parametrize("prioritized", [False, True])
@pytest.mark.parametrize(("threads", "rows"), [(1, 1024), (2, 1024), (4, 10)])
def test_the_delayed_actor_follows_the_critics_of_the_step_before(
    pair, monkeypatch, threads, rows, prioritized
):
    monkeypatch.setattr(shares, "SHARE_ROWS", rows)
    settings = {"prioritized": prioritized, "learning_rate": 3e-3}
    delayed = learn(*pair(SplitSACLearner, threads, delay=1, **settings))
    check_equal(delayed, learn(*pair(HeldBack, max(1, threads // 2), **settings)))
    at_once = learn(*pair(SACLearner, max(1, threads // 2), **settings))
    assert not np.allclose(delayed.model["actor.0.weight"], at_once.model["actor.0.weight"])


def test_a_delayed_learner_tells_the_figures_of_every_step(pair):
    learner, replay = pair(SplitSACLearner, delay=1)
    assert learner.metrics() == {"updates": 0.0}
    learner.update(replay)
    first = learner.metrics()
    assert first["updates"] == 1 and all(map(math.isfinite, first.values()))
    assert {"critic_loss", "value", "actor_loss", "entropy", "update_s"} <= first.keys()
    assert learner.metrics() == {"updates": 1.0}


@pytest.mark.parametrize("prioritized", [False, True])
@pytest.mark.parametrize("delay", [0, 1])
def test_goes_on_bit_for_bit(pair, delay, prioritized):
    one, replay = pair(SplitSACLearner, delay=delay, prioritized=prioritized)
    state = learn(one, replay, 7)
    other, _ = pair(SplitSACLearner, delay=delay, prioritized=prioritized)
    other.restore(state)
    again = other.memory.open([source._stream for source in replay._sources], [])
    check_equal(learn(one, replay, 7), learn(other, again, 7))


@pytest.mark.parametrize("kinds", [(SACLearner, SplitSACLearner), (SplitSACLearner, SACLearner)])
def test_a_state_is_the_same_with_and_without(pair, kinds):
    """A checkpoint of either can be gone on from by the other, as if nothing had changed."""
    (first, replay), (then, _), (throughout, whole) = pair(kinds[0]), pair(kinds[1]), pair()
    then.restore(learn(first, replay, 7))
    again = then.memory.open([source._stream for source in replay._sources], [])
    learn(throughout, whole, 7)
    check_equal(learn(then, again, 7), learn(throughout, whole, 7))


def test_who_waits_for_a_dead_process_hears_of_it(pair):
    """A process of its own has the same numbers, too."""
    crew = Processes()
    ours, replay = pair(SplitSACLearner, crew=crew, delay=1)
    check_equal(learn(ours, replay, 20), learn(*pair(HeldBack), 20))
    os.kill(crew.pid, signal.SIGKILL)
    with pytest.raises(WorkerLost, match="critic died"):
        learn(ours, replay)


def test_who_waits_for_a_process_that_hangs_hears_of_it(pair, monkeypatch):
    monkeypatch.setattr(pulse, "SILENCE_S", 3.0)
    crew = Processes()
    ours, replay = pair(SplitSACLearner, crew=crew, delay=1)
    os.kill(crew.pid, signal.SIGSTOP)
    with pytest.raises(WorkerLost, match="critic gave no sign for 3 s and was killed"):
        learn(ours, replay)


SAC = {"algorithm": SMALL, "env": {"id": "Pendulum-v1"}, "sampling": {"samplers": 1}}
PPO = {"algorithm": {"name": "ppo"}, "env": {"id": "CartPole-v1"}}


def parsed(section, tmp_path, devices):
    data = {"name": "a", "workload": "rl", "resources": {"cpus": 2}, "stop": {"env_steps": 100}}
    return parse_job_file({**data, "rl": {**section, "devices": devices}}, tmp_path)


@pytest.mark.parametrize(
    ("section", "devices", "line"),
    [
        (PPO, {}, "rl.devices: ppo is updated as a whole; leave this out, or .*name: sac"),
        (
            {**SAC, "learners": {"count": 2}},
            {},
            "rl.devices: .* another way than rl.learners: give",
        ),
        ({**SAC, "coded": {"code": "mds"}}, {}, "rl.devices: .* another way than rl.coded: give"),
        ({**SAC, "sampling": {"samplers": 0}}, {}, r"rl.devices: .* give rl.sampling.samplers: 1"),
        (SAC, {"critic": "cuda:1"}, "rl.devices.critic: .* today it is cpu for both"),
        (SAC, {"actor": "cuda"}, "rl.devices.actor: .* today it is cpu for both"),
    ],
)
def test_jobs_whose_actor_and_critics_cannot_be_parted(section, devices, line, tmp_path):
    with pytest.raises(JobFileError, match=line):
        parsed(section, tmp_path, devices)


def test_a_job_with_devices_that_are_none(tmp_path):
    with pytest.raises(JobFileError, match=r"rl.devices.critic"):
        parsed(SAC, tmp_path, {"critic": "tpu"})
    with pytest.raises(JobFileError, match=r"rl.devices.delay"):
        parsed(SAC, tmp_path, {"delay": 2})
    assert parsed(SAC, tmp_path, {}).section.devices.delay == 0


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("victim", ["critic", "learner"])
def test_when_one_of_two_dies_another_pair_goes_on(tmp_path, victim):
    """In a job of its own; what it learnt is gone on from without the second process."""
    algorithm = {**SMALL, "updates_per_step": 0.2, "threads": 1}
    sampling = {"samplers": 1, "envs_per_sampler": 4}
    section = {**SAC, "algorithm": algorithm, "sampling": sampling, "viewer": {"every_s": None}}
    path = tmp_path / "run"
    apart = {**section, "devices": {"delay": 1}}
    process = start(path, tmp_path / "home", apart, steps=100_000_000)
    try:
        wait_for(process, lambda: "actors" in kinds(path), "they never began")
        wait_for(process, lambda: "critic" in actors_of(process), "no critics")
        pair = {role: actors_of(process)[role] for role in ("critic", "learner")}
        pair[victim].kill()
        wait_for(process, lambda: "replaced" in kinds(path), "nobody noticed")
        before = len(lines(path))
        wait_for(process, lambda: len(lines(path)) > before + 3, f"no {victim} any more")
        assert not psutil.wait_procs(pair.values(), timeout=30)[1]
        held = [*actors_of(process).values()]
        process.send_signal(signal.SIGTERM)
        assert process.wait(300) == 4
    finally:
        process.kill()
        process.wait()
    assert not psutil.wait_procs(held, timeout=60)[1]
    (death,) = [event["message"] for event in events(path) if event["kind"] == "replaced"]
    assert death.startswith(f"{victim} died")
    last = lines(path)[-1]
    alone = {**section, "sampling": {"samplers": 0, "envs_per_sampler": 4}}
    job = {"name": "test", "workload": "rl", "stop": {"env_steps": last["step"] + 500}}
    RunFolder.open(path).replace_job(parse_job_file({**job, "rl": alone}, tmp_path))
    run = Run.claim(path)
    metrics = WORKLOAD.run(run)
    run.finish("succeeded", metrics)
    assert metrics["updates"] > last["updates"] and math.isfinite(metrics["critic_loss"])


def events(path):
    file = path / "events.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def kinds(path):
    return {event["kind"] for event in events(path)}
