"""Measure how soon a job samples as fast as before, after the node of one of its samplers is lost.

    python tests/benchmarks/node_recovery.py [--env HalfCheetah-v5] [--rounds 3]

PPO with two samplers on two nodes of this machine, and a third node that nobody uses. In every
round `kill -9` ends the node of the sampler that is not beside the learner, with all its processes;
another node is added once the rate is back. One JSON object: the rate before, and the seconds until
the rate over the last three seconds was 90 % of it. Exit status 1 unless each was at most 20.
"""

import argparse
import json
import sys
import time
from collections import deque
from statistics import median
from typing import Any

from lost_nodes import Place, home

WINDOW_S = 3.0
STEADY_S = 20.0
PART, MOST_S = 0.9, 20.0


class Rate:
    """Environment steps a second, as told."""

    def __init__(self, place: Place, job_id: str) -> None:
        self._place, self._job_id = place, job_id
        self._seen: deque[tuple[float, float]] = deque()

    def read(self) -> float:
        """Over the last three seconds; call it often."""
        now = time.monotonic()
        self._seen.append((now, self._place.figures(self._job_id)["step"]))
        while now - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        return (last - first) / max(last_s - first_s, WINDOW_S / 2)


def followed(rate: Rate, seconds: float) -> list[float]:
    """What it was meanwhile."""
    end_s, found = time.monotonic() + seconds, []
    while time.monotonic() < end_s:
        found.append(rate.read())
        time.sleep(0.1)
    return found


def lost_once(place: Place, rate: Rate, number: int) -> dict[str, Any]:
    followed(rate, WINDOW_S)
    before = median(followed(rate, STEADY_S))
    learners = place.node_of("learner")
    node = next(
        one
        for one in place.nodes.nodes
        if one is not learners and one.process.poll() is None and place.lives_on(one, "sampler")
    )
    node.kill()
    began = time.monotonic()
    followed(rate, WINDOW_S)  # of before
    while rate.read() < PART * before:
        time.sleep(0.1)
    took = time.monotonic() - began
    place.nodes.add(f"new{number}", 3)
    return {"before_hz": round(before), "back_s": round(took, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--env", default="HalfCheetah-v5")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    job = {
        "name": "recovery",
        "workload": "rl",
        "resources": {"cpus": 4},
        "stop": {"env_steps": 10**9},
        "rl": {
            "algorithm": {"name": "ppo"},
            "env": {"id": options.env},
            "sampling": {"samplers": 2, "envs_per_sampler": 8},
            "viewer": {"every_s": None},
        },
    }
    with home() as folder:
        place = Place(folder)
        try:
            place.nodes.add("spare", 3)
            job_id = place.client.submit(job)
            place.until(lambda: place.figures(job_id)["step"] > 20_000)
            rate = Rate(place, job_id)
            found = [lost_once(place, rate, number) for number in range(options.rounds)]
        finally:
            place.close()
    print(json.dumps({"env": options.env, "lost": found}))
    return int(max(one["back_s"] for one in found) > MOST_S)


if __name__ == "__main__":
    sys.exit(main())
