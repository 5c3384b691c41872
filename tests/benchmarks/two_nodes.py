"""Measure sampling from another Ray node against sampling from the learner's own, and how soon
published weights are there.

    python tests/benchmarks/two_nodes.py [--env HalfCheetah-v5] [--samplers 2] [--rounds 5]
        [--seconds 8]

Two nodes of this machine; the learner's side is this process, on the first. In every round samplers
on the first node fill their streams in shared memory, then as many on the second do over the relay,
and this process takes the blocks (and updates nothing). Then eight readers on the second node wait
for weights of a million parameters. One JSON object: medians and spread. Exit status 1 unless the
second node's rate is at least 0.7 of the first one's, and all eight have the weights within 50 ms.
"""

import argparse
import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "deploy"))

PARAMETERS = 1_000_000
READERS = 8
PUBLICATIONS = 30
LEAST_PART, MOST_S = 0.7, 0.05


def job_of(env: str, samplers: int) -> Any:
    from covey.platform.jobfile.load import parse_job_file

    document = {
        "name": "two-nodes",
        "workload": "rl",
        "resources": {"cpus": max(2, samplers)},
        "stop": {"env_steps": 2**62},
        "rl": {
            "algorithm": {"name": "ppo"},
            "env": {"id": env},
            "sampling": {"samplers": samplers, "envs_per_sampler": 8},
        },
    }
    return parse_job_file(document, Path.cwd(), "two-nodes")


class Sampling:
    """Samplers on one node, and the streams that they fill."""

    def __init__(self, group: Any, bundle: int, job: Any) -> None:
        from covey.algorithms.parts import (
            env_source,
            make_environments_of,
            make_policy,
            probe_spaces,
        )
        from covey.platform.runtime.actor import start_actor
        from covey.platform.runtime.ends import Ends, Far
        from covey.platform.runtime.ray_cluster import node_id
        from covey.platform.runtime.ray_results import RayResults, share
        from covey.platform.runtime.relay import Relay
        from covey.platform.runtime.sampler import Sampler
        from covey.platform.runtime.stream import Stream
        from covey.platform.runtime.weights_channel import SharedWeights
        from covey.platform.seeds import derive

        self.results = RayResults()
        section = job.section
        spaces = probe_spaces(env_source(job))
        count, columns = section.sampling.samplers, section.sampling.envs_per_sampler
        arrays = section.algorithm.make_learner(spaces, job.seed, 1).weights().arrays
        self.weights = SharedWeights.create(arrays)
        self.weights.publish(arrays)
        spec = section.algorithm.stream_spec(columns, count, spaces)
        self.streams = [Stream.create(spec, shared=True) for _ in range(count)]
        handles = [stream.handle for stream in self.streams]
        relay = start_actor("relay", group, 0, {}, Relay, handles, self.weights.handle, share)
        self.samplers = [
            start_actor(
                f"sampler {bundle} {index}",
                group,
                bundle,
                {},
                Sampler,
                make_environments_of(job, columns, index * columns, "environment"),
                partial(make_policy, spaces, section),
                derive(job.seed, "sampler", index),
            )
            for index in range(count)
        ]
        far = Far(node_id(), relay)
        ends = [Ends(h, self.weights.handle, i, 0, far) for i, h in enumerate(handles)]
        pairs = zip(self.samplers, ends, strict=True)
        self.results.fetch([sampler.submit("connect", end.open) for sampler, end in pairs])

    def rate(self, seconds: float) -> float:
        """Environment steps a second of all samplers, the first second left out."""
        for stream in self.streams:
            stream.stop = False
        running = [sampler.submit("run") for sampler in self.samplers]
        self._taken(1.0)
        began = time.perf_counter()
        steps = self._taken(seconds)
        rate = steps / (time.perf_counter() - began)
        for stream in self.streams:
            stream.stop = True
        self.results.fetch(running)
        self._taken(0.0)
        return rate

    def _taken(self, seconds: float) -> float:
        steps, end = 0.0, time.perf_counter() + seconds
        while True:
            for stream in self.streams:
                while (fragment := stream.take()) is not None:
                    steps += fragment.env_steps
                    stream.release()
            if time.perf_counter() >= end:
                return steps
            time.sleep(1e-3)


class Reader:
    """Waits for weights as a sampler does."""

    def __init__(self, ends: Any) -> None:
        self.stream, self.weights = ends.open()

    def wait(self, newer_than: int) -> float:
        """When they were there (seconds since the epoch: one machine, one clock)."""
        while self.weights.read(newer_than) is None:
            time.sleep(self.stream.patience_s)
        return time.time()


def weights_s(group: Any, job: Any) -> list[float]:
    """From each publication until the last of the readers has a copy of its own."""
    from covey.algorithms.parts import env_source, probe_spaces
    from covey.platform.runtime.actor import start_actor
    from covey.platform.runtime.ends import Ends, Far
    from covey.platform.runtime.ray_cluster import node_id
    from covey.platform.runtime.ray_results import RayResults, share
    from covey.platform.runtime.relay import Relay
    from covey.platform.runtime.stream import Stream
    from covey.platform.runtime.weights_channel import SharedWeights

    results, arrays = RayResults(), {"w": np.zeros(PARAMETERS, np.float32)}
    weights = SharedWeights.create(arrays)
    spec = job.section.algorithm.stream_spec(1, 1, probe_spaces(env_source(job)))
    streams = [Stream.create(spec, shared=True) for _ in range(READERS)]
    handles = [stream.handle for stream in streams]
    relay = start_actor("relay", group, 0, {}, Relay, handles, weights.handle, share)
    ends = [Ends(h, weights.handle, i, 0, Far(node_id(), relay)) for i, h in enumerate(handles)]
    readers = [start_actor(f"reader {i}", group, 1, {}, Reader, end) for i, end in enumerate(ends)]
    found = []
    for version in range(PUBLICATIONS + 1):
        waiting = [reader.submit("wait", version - 1) for reader in readers]
        time.sleep(0.5)
        arrays["w"][:] = version
        began = time.time()
        weights.publish(arrays)
        found.append(max(results.fetch(waiting)) - began)
    return found[1:]  # Ray's first transfer between two nodes opens connections


def measured(options: argparse.Namespace) -> dict[str, Any]:
    import ray
    from ray.util.placement_group import placement_group

    group = placement_group([{"head1": 0.5}, {"other": 0.5}])
    ray.get(group.ready())
    job = job_of(options.env, options.samplers)
    near, far = Sampling(group, 0, job), Sampling(group, 1, job)
    rates = [(near.rate(options.seconds), far.rate(options.seconds)) for _ in range(options.rounds)]
    for sampler in (*near.samplers, *far.samplers):
        ray.kill(sampler.actor)
    delivered = weights_s(group, job)
    return {
        "env": options.env,
        "samplers": options.samplers,
        "near_hz": [round(one) for one, _ in rates],
        "far_hz": [round(one) for _, one in rates],
        "part": round(median(far / near for near, far in rates), 3),
        "parts": [round(far / near, 3) for near, far in rates],
        "weights_ms": round(1e3 * median(delivered), 1),
        "weights_ms_range": [round(1e3 * min(delivered), 1), round(1e3 * max(delivered), 1)],
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--env", default="HalfCheetah-v5")
    parser.add_argument("--samplers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    options = parser.parse_args()
    from ray_nodes import RayNodes

    with tempfile.TemporaryDirectory() as folder:
        nodes = RayNodes(Path(folder), head_cpus=4)
        try:
            nodes.add("other", 4)
            import ray

            ray.init(address=nodes.gcs, log_to_driver=False, configure_logging=False)
            found = measured(options)
            ray.shutdown()
        finally:
            nodes.close()
    print(json.dumps(found))
    return int(found["part"] < LEAST_PART or found["weights_ms"] > 1e3 * MOST_S)


if __name__ == "__main__":
    sys.exit(main())
