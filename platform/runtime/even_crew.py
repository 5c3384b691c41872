"""A crew of workers that are all alike."""

from collections.abc import Callable
from functools import partial
from typing import Any

from covey.platform.environment import prepare_libraries
from covey.platform.jobfile.model import Resources
from covey.platform.runtime.actors import Actors, Helpers
from covey.platform.runtime.crew import Crew, Worker
from covey.platform.runtime.ray_cluster import connect, keeping_signal_handlers, place


class EvenCrew(Actors):
    """One placement group of the job's resources, in as many equal parts as there are workers; the
    calling process takes none. A worker's name ends in its number, from 0.

    "local" starts a private Ray, anything else joins that cluster. `calls`: how many each worker
    answers at a time, in threads if it is more than one.
    """

    def __init__(self, resources: Resources, workers: int, address: str, calls: int = 1) -> None:
        prepare_libraries(own_ray=address == "local")  # before Ray is imported for the first time
        with keeping_signal_handlers():
            connect(resources, address)
        self._part = {"CPU": _part(resources.cpus, workers)}
        if resources.gpus:
            self._part["GPU"] = _part(resources.gpus, workers)
        super().__init__(place([self._part] * workers), calls)

    def spawn(self, name: str, factory: Callable[..., object], *arguments: Any) -> Worker:
        number = int(name.rpartition(" ")[2])
        return self._start(name, number, self._part, factory, *arguments)

    def helpers(self) -> Callable[[], Crew]:
        return partial(Helpers, self._group, 0)

    def close(self) -> None:
        import ray
        from ray.util.placement_group import remove_placement_group

        super().close()
        remove_placement_group(self._group)
        ray.shutdown()


def _part(whole: float, workers: int) -> float:
    """In the steps of 0.0001 that Ray has, rounded down: all parts together must not be more."""
    return int(whole * 10_000 / workers) / 10_000
