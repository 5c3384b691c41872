"""Where RLlib's actors live: all in one placement group of the job's resources."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from covey.algorithms.rllib_resources import Shares
from covey.platform.environment import prepare_libraries
from covey.platform.jobfile.model import Resources

if TYPE_CHECKING:
    from covey.platform.runtime.actor import RayWorker


class RllibCrew:
    """One actor of ours, and RLlib's own around it; the calling process takes no CPU.

    "local" starts a private Ray, anything else joins that cluster.
    """

    def __init__(self, resources: Resources, shares: Shares, address: str) -> None:
        prepare_libraries()  # before Ray is imported for the first time
        from covey.platform.runtime.ray_cluster import connect, keeping_signal_handlers, place

        with keeping_signal_handlers():
            connect(resources, address)
        self._group = place(shares.bundles())
        self._main = shares.main
        self._worker: RayWorker | None = None

    def spawn(self, factory: Callable[..., object], *arguments: Any) -> None:
        """Start the actor; the actors that it starts in turn stay in the placement group."""
        from covey.platform.runtime.actor import start_actor

        self._worker = start_actor(
            "rllib", self._group, 0, self._main, factory, *arguments, keeps_children=True
        )

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the actor's object and wait for the result.

        Raises what the method raised; WorkerLost when the actor's process died.
        """
        from covey.platform.runtime.actor import results

        assert self._worker is not None
        pending = self._worker.submit(method, *arguments)
        (value,) = results([pending], lambda actor_id: "the actor of RLlib's algorithm")
        return value

    def close(self) -> None:
        import ray
        from ray.util.placement_group import remove_placement_group

        if self._worker is not None:
            ray.kill(self._worker.actor)
        remove_placement_group(self._group)  # and with it every actor that RLlib has started
        ray.shutdown()
