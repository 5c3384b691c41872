"""Ray of ours on a machine so busy that its agents are late."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from covey.platform.ray_start import free_ports

LATE_AGENTS = """
import time
words = open("/proc/self/cmdline").read().split("\\0")
if any(word.endswith(("dashboard/agent.py", "runtime_env/agent/main.py")) for word in words):
    time.sleep(20)
"""
"""Run by every Python at its start; a raylet that waits for its agents gives them 15 s."""

AN_ACTOR_ANSWERS = """
from covey.platform.environment import prepare_libraries
prepare_libraries(own_ray=True)
from covey.platform.jobfile.model import Resources
from covey.platform.runtime.ray_cluster import connect
connect(Resources(cpus=1), "local")
import ray
class Actor:
    def answer(self):
        return 42
print(ray.get(ray.remote(Actor).remote().answer.remote()))
"""


@pytest.mark.ray
def test_a_private_ray_starts_without_its_agents(tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text(LATE_AGENTS)
    places = {"PYTHONPATH": str(tmp_path), "COVEY_HOME": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", AN_ACTOR_ANSWERS],
        env=os.environ | places,
        capture_output=True,
        text=True,
        timeout=480,
    )
    assert ended.stdout == "42\n", ended.stderr


def test_free_ports_differ_and_are_free():
    ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        with socket.socket() as listener:
            listener.bind(("", port))
    with socket.socket() as taken:
        taken.bind(("", ports[0]))
        assert ports[0] not in {port for _ in range(100) for port in free_ports(100)}
