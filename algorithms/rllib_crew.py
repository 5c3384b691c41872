"""Where RLlib's actors live: all in one placement group of the job's resources."""

from collections.abc import Callable
from typing import Any

from covey.algorithms.rllib_resources import Shares
from covey.platform.environment import prepare_libraries
from covey.platform.jobfile.model import Resources


class RllibCrew:
    """One actor of ours, and RLlib's own around it; the calling process takes no CPU.

    "local" starts a private Ray, anything else joins that cluster.
    """

    def __init__(self, resources: Resources, shares: Shares, address: str) -> None:
        prepare_libraries()  # before Ray is imported for the first time
        from covey.platform.runtime.actors import connect, keeping_signal_handlers, place

        with keeping_signal_handlers():
            connect(resources, address)
        self._group = place(shares.bundles())
        self._main = shares.main
        self._actor: Any = None

    def spawn(self, factory: Callable[..., object], *arguments: Any) -> None:
        """Start the actor; the actors that it starts in turn stay in the placement group."""
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        from covey.platform.runtime.actors import Host

        strategy = PlacementGroupSchedulingStrategy(
            self._group, 0, placement_group_capture_child_tasks=True
        )
        options = ray.remote(Host).options(
            num_cpus=self._main.get("CPU", 0),
            num_gpus=self._main.get("GPU", 0),
            scheduling_strategy=strategy,
        )
        self._actor = options.remote(factory, *arguments)

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the actor's object and wait for the result.

        Raises what the method raised; WorkerLost when the actor's process died.
        """
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        from covey.platform.runtime.crew import WorkerLost

        try:
            return ray.get(self._actor.call.remote(method, *arguments))
        except RayActorError as error:
            raise WorkerLost(f"the actor of RLlib's algorithm died: {error}") from error
        except RayTaskError as error:
            raise error.cause from error

    def close(self) -> None:
        import ray
        from ray.util.placement_group import remove_placement_group

        if self._actor is not None:
            ray.kill(self._actor)
        remove_placement_group(self._group)  # and with it every actor that RLlib has started
        ray.shutdown()
