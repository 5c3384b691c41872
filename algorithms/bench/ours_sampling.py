"""Covey's sampler for PPO, measured as `peers.serve` does: one process of several.

    python -m covey.algorithms.bench.ours_sampling '{"env": ..., "envs": 16, "steps": 128, ...}'

It acts on published weights and writes blocks into a stream in shared memory, from which a reader
takes them at once. Settings: `env`, `envs`, `steps` (of a block), `first` (the number of its first
environment) and `hidden`.
"""

from functools import partial
from pathlib import Path

from covey.algorithms.bench.peers.serve import Measure, Settings, repeated, serve
from covey.algorithms.parts import make_environments_of, make_policy
from covey.algorithms.section import RLSection
from covey.platform.jobfile.load import parse_job_file
from covey.platform.jobfile.model import JobFile
from covey.platform.runtime.sampler import Sampler
from covey.platform.runtime.stream import Stream
from covey.platform.runtime.weights_channel import SharedWeights
from covey.platform.seeds import derive

NO_LIMIT = 2**62


def job_of(settings: Settings) -> JobFile:
    """A job that samples this environment for PPO."""
    algorithm = {
        "name": "ppo",
        "rollout_steps": settings["steps"],
        "hidden": settings["hidden"],
        "normalize_observations": False,
    }
    document = {
        "name": "bench",
        "workload": "rl",
        "stop": {"env_steps": NO_LIMIT},
        "rl": {
            "algorithm": algorithm,
            "env": {"id": settings["env"]},
            "sampling": {"samplers": 1, "envs_per_sampler": settings["envs"]},
        },
    }
    return parse_job_file(document, Path.cwd(), "bench")


def prepare(settings: Settings) -> dict[str, Measure]:
    job = job_of(settings)
    section: RLSection = job.section
    environments = make_environments_of(job, settings["envs"], settings["first"], "environment")()
    spaces = environments.spaces
    learner = section.algorithm.make_learner(spaces, job.seed, 1)
    first = learner.weights().arrays
    weights = SharedWeights.create(first)
    weights.publish(first)
    stream = Stream.create(
        section.algorithm.stream_spec(environments.count, 1, spaces), shared=True
    )
    stream.permit(NO_LIMIT)
    sampler = Sampler(
        lambda: environments, partial(make_policy, spaces, section), derive(job.seed, "sampler", 0)
    )
    sampler.connect(lambda: (stream, weights))

    def collect() -> float:
        sampler.sample()
        fragment = stream.take()
        assert fragment is not None
        steps = fragment.env_steps
        stream.release()
        return float(steps)

    collect()
    return {"steps": repeated(collect)}


if __name__ == "__main__":
    serve(prepare)
