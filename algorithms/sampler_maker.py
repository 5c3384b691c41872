"""Makes a job's samplers, and the streams that outlive them."""

from functools import partial
from typing import Any

from covey.algorithms.parts import make_environments_of, make_exploring_policy, number_of_samplers
from covey.algorithms.section import RLSection
from covey.platform.jobfile.model import JobFile
from covey.platform.runtime import segment
from covey.platform.runtime.actor import RELAY
from covey.platform.runtime.crew import Crew, Pending, Worker
from covey.platform.runtime.ends import Ends, Far
from covey.platform.runtime.ray_cluster import node_id
from covey.platform.runtime.ray_results import share
from covey.platform.runtime.relay import Relay
from covey.platform.runtime.sampler import Sampler
from covey.platform.runtime.spaces import Spaces
from covey.platform.runtime.stream import Stream
from covey.platform.runtime.weights_channel import SharedWeights
from covey.platform.seeds import derive


class SamplerMaker:
    """See above. In shared memory, unless the only sampler works inline."""

    def __init__(self, crew: Crew, job: JobFile, spaces: Spaces) -> None:
        section: RLSection = job.section
        environments = section.sampling.envs_per_sampler
        assert isinstance(environments, int)
        self._crew, self._job, self._spaces, self._section = crew, job, spaces, section
        self._environments = environments
        self._far: Far | None = None
        self.shared = number_of_samplers(section) > 0
        self.columns = environments * spaces.agents
        """Of each sampler's stream: agents of environments."""
        count = max(1, number_of_samplers(section))
        spec = section.algorithm.stream_spec(self.columns, count, spaces)
        segment.check_fits("the rings of all samplers", count * spec.layout.size_bytes)
        self.streams = [Stream.create(spec, self.shared) for _ in range(count)]
        """One a sampler, also of those that are not there."""

    def spawn(self, index: int, lives: int) -> Worker:
        """Sampler number `index`. After `lives` others it plays other episodes than they did."""
        return self._crew.spawn(f"sampler {index}", Sampler, *self._made_of(index, lives))

    def remake(self, worker: Worker, index: int, lives: int) -> Pending:
        """Have a sampler that was made for other streams be such a one; it has still to connect."""
        return worker.submit("remake", *self._made_of(index, lives))

    def _made_of(self, index: int, lives: int) -> tuple[Any, ...]:
        role = "environment" if lives == 0 else f"environment of life {lives}"
        first = index * self._environments
        return (
            make_environments_of(self._job, self._environments, first, role),
            partial(
                make_exploring_policy,
                self._spaces,
                self._section,
                first,
                self._environments,
                len(self.streams) * self._environments,
            ),
            derive(self._job.seed, "sampler", index, *([lives] if lives else [])),
        )

    def connect(self, worker: Worker, index: int, lives: int, weights: SharedWeights) -> Pending:
        """Have it open its ends of the channels, wherever it is; answered once it has."""
        stream = self.streams[index]
        if not self.shared:
            return worker.submit("connect", lambda: (stream, weights))
        stream.term = lives
        way = self._way_from_elsewhere(weights)
        ends = Ends(stream.handle, weights.handle, index, lives, way)
        return worker.submit("connect", ends.open)

    def _way_from_elsewhere(self, weights: SharedWeights) -> Far | None:
        """For samplers on other nodes, once there are any."""
        if self._far is None and self._crew.spans_nodes():
            handles = [stream.handle for stream in self.streams]
            relay = self._crew.spawn(RELAY, Relay, handles, weights.handle, share)
            self._far = Far(node_id(), relay)
        return self._far

    def close(self) -> None:
        """End what stands between these streams and samplers elsewhere; the streams stay."""
        if self._far is not None:
            self._crew.end(self._far.relay)
