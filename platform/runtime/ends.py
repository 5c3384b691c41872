"""A sampler's ends of its channels, opened in its own process: near the learner, or far from it."""

from dataclasses import dataclass

from covey.platform.runtime.crew import Worker
from covey.platform.runtime.far_end import FarEnd
from covey.platform.runtime.ray_cluster import node_id
from covey.platform.runtime.ray_results import RayResults
from covey.platform.runtime.stream import StreamHandle
from covey.platform.runtime.stream_sides import StreamWriter
from covey.platform.runtime.weights_channel import WeightsHandle, WeightsReader


@dataclass(frozen=True)
class Far:
    """The way to memory on `node` from other nodes of a Ray cluster."""

    node: str
    relay: Worker


@dataclass(frozen=True)
class Ends:
    """Of writer `term` of stream `number`. Without `far` it is where the memory is."""

    stream: StreamHandle
    weights: WeightsHandle
    number: int = 0
    term: int = 0
    far: Far | None = None

    def open(self) -> tuple[StreamWriter, WeightsReader]:
        """Both of them. SegmentGone if their holder has died; WorkerLost if the relay has."""
        if self.far is None or self.far.node == node_id():
            return self.stream.attach(), self.weights.attach()
        end = FarEnd(self.stream.spec, self.number, self.term, self.far.relay, RayResults())
        return end, end
