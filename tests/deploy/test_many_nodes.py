"""Jobs over two Ray nodes, one of which has no Covey of its own."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray_nodes import RayNodes

from covey.platform.client import Client
from covey.platform.jobs.job import State
from covey.platform.runs.folder import RunFolder

pytestmark = [pytest.mark.ray, pytest.mark.slow]

LIMIT_S = 600.0
ENVIRONMENT = '''
import gymnasium as gym

class Bandit(gym.Env):
    """One step: arm 1 pays."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (2,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), float(action == 1), True, False, {}

gym.register("OurBandit-v0", entry_point=Bandit)
'''


@pytest.fixture(scope="module")
def nodes(home: Path) -> Iterator[RayNodes]:
    opened = RayNodes(home)
    opened.add("covey", 2)
    opened.add("bare", 2, without_covey=True)
    yield opened
    opened.close()


def job(tmp_path: Path, **more: Any) -> dict[str, Any]:
    """Needs both nodes: two samplers of 0.75 CPUs, and the learner's 1.5."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "our_bandits.py").write_text(ENVIRONMENT)
    return {
        "name": "bandit",
        "workload": "rl",
        "code": str(code),
        "resources": {"cpus": 3},
        "checkpoint": {"every_s": 2},
        "stop": {"env_steps": 10**9},
        "rl": {
            "algorithm": {"name": "ppo"},
            "env": {"id": "our_bandits:OurBandit-v0"},
            "sampling": {"samplers": 2, "envs_per_sampler": 4},
        },
    } | more


def told(job_id: str, client: Client) -> list[dict[str, float]]:
    """All figures so far."""
    metrics = Path(client.show(job_id).run_dir) / "metrics.jsonl"
    whole = metrics.read_text().rpartition("\n")[0] if metrics.exists() else ""
    return [json.loads(line) for line in whole.splitlines()]


def until(client: Client, job_id: str, step: int) -> None:
    """It has told of that step."""
    end_s = time.monotonic() + LIMIT_S
    while not any(row["step"] >= step for row in told(job_id, client)[-1:]):
        shown = client.show(job_id)
        assert shown.state not in (State.FAILED, State.STOPPED), shown.reason
        assert time.monotonic() < end_s, (client.home / "scheduler.log").read_text()[-3000:]
        time.sleep(0.2)


def test_a_job_over_both_stops_with_a_checkpoint_and_goes_on(client: Client, tmp_path: Path):
    job_id = client.submit(job(tmp_path, stop={"env_steps": 60_000}))
    until(client, job_id, 10_000)
    client.stop(job_id)
    stopped = client.wait(job_id, LIMIT_S)
    assert stopped.state is State.STOPPED, stopped.reason
    checkpoint = RunFolder.open(Path(stopped.run_dir)).newest_checkpoint()
    assert checkpoint is not None and 10_000 <= checkpoint.step < 60_000
    client.resume(job_id)
    done = client.wait(job_id, LIMIT_S)
    assert done.state is State.SUCCEEDED, done.reason
    figures = told(job_id, client)
    assert figures[-1]["step"] >= 60_000 and figures[-1]["episode_return_mean"] > 0.9
    events = (Path(done.run_dir) / "events.jsonl").read_text()
    assert f'"step": {checkpoint.step}' in events and "restored" in events


def test_killed_samplers_far_from_the_learner_are_replaced(
    client: Client, nodes: RayNodes, tmp_path: Path
):
    job_id = client.submit(job(tmp_path))
    until(client, job_id, 10_000)
    samplers, (learner,) = workers(nodes, "sampler"), workers(nodes, "learner")
    assert len(samplers) == 2
    assert all(os.getpgid(one.pid) != os.getpgid(learner.pid) for one in samplers)
    for process in samplers:
        process.kill()
    before = told(job_id, client)[-1]["step"]
    until(client, job_id, int(before) + 20_000)
    assert told(job_id, client)[-1]["replaced_workers"] >= 2
    client.stop(job_id)
    assert client.wait(job_id, LIMIT_S).state is State.STOPPED


def test_samplers_join_and_leave_for_another_job(client: Client, tmp_path: Path):
    document = job(tmp_path, resources={"cpus": 2})
    document["rl"]["sampling"] = {"samplers": {"min": 1, "max": 3}, "envs_per_sampler": 4}
    first = client.submit(document)
    wait_for(client, lambda: any(row["samplers"] == 3 for row in told(first, client)))
    second = client.submit(document | {"name": "other", "stop": {"env_steps": 20_000}})
    assert client.wait(second, LIMIT_S).state is State.SUCCEEDED
    told_of = (Path(client.show(first).run_dir) / "events.jsonl").read_text()
    assert "gives room to others that wait: 2 of 1 to 3" in told_of
    assert "gives room to others that wait: 1 of 1 to 3" in told_of
    client.stop(first)
    assert client.wait(first, LIMIT_S).state is State.STOPPED


def test_a_job_over_both_tunes_itself_in_the_room_it_has(client: Client, tmp_path: Path):
    document = job(tmp_path)
    document["rl"] |= {
        "algorithm": {"name": "dqn", "hidden": [16], "updates_per_step": 0.01},
        "sampling": {
            **{"samplers": 2, "envs_per_sampler": 2},
            "tuning": {"samplers": 4, "envs_per_sampler": 8, "measure_s": 1},
        },
    }
    job_id = client.submit(document)
    events = Path(client.show(job_id).run_dir) / "events.jsonl"
    wait_for(client, lambda: events.exists() and "settled at" in events.read_text())
    figures = told(job_id, client)
    tried = {(row["samplers"], row["envs_per_sampler"]) for row in figures}
    assert {(2, 2), (4, 2)} <= tried and len(tried) > 2
    assert [row["step"] for row in figures] == sorted(row["step"] for row in figures)
    until(client, job_id, int(figures[-1]["step"]) + 5_000)
    client.stop(job_id)
    assert client.wait(job_id, LIMIT_S).state is State.STOPPED


def wait_for(client: Client, condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s, (client.home / "scheduler.log").read_text()[-3000:]
        time.sleep(0.2)


def test_code_that_is_gone_is_told_in_one_line(client: Client, tmp_path: Path):
    document = job(tmp_path)
    document["code"] = str(tmp_path / "gone")
    (tmp_path / "gone").mkdir()
    job_id = client.submit(document)
    (tmp_path / "gone").rmdir()
    failed = client.wait(job_id, LIMIT_S)
    assert failed.state is State.FAILED
    assert "code: found" in failed.reason and "allowed is a folder that exists" in failed.reason


def workers(nodes: RayNodes, role: str) -> list[psutil.Process]:
    """The processes of that role on any node."""
    groups = [node.process.pid for node in nodes.nodes]
    found = [one for one in psutil.process_iter() if named(one).startswith(f"ray::{role}")]
    return [one for one in found if os.getpgid(one.pid) in groups]


def named(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()[:1])
    except psutil.Error:
        return ""
