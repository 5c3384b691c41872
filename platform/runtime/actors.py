"""Crews of Ray actors (`actor.py`) in a placement group; everything else sees `crew.Crew`."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from contextlib import suppress
from functools import partial
from typing import Any

from covey.platform.environment import prepare_libraries, threads_give_way
from covey.platform.jobfile.model import Resources
from covey.platform.runtime.actor import RayWorker, Remote, results, start_actor
from covey.platform.runtime.crew import Crew, Pending, Worker
from covey.platform.runtime.ray_cluster import (
    connect,
    keeping_signal_handlers,
    own_group,
    place,
)

LEARNER = "learner"
BACKGROUND = ("evaluator", "viewer")
NICENESS = 10
"""Of those in the background: a learner on all CPUs goes before them; a tenth is left to them."""
SAMPLER = "sampler "
"""Followed by a number: who has it gets a bundle of their own."""


class Actors:
    """The workers of somebody who holds a placement group, all in it. `calls`: how many each of
    them answers at a time, in threads if it is more than one.
    """

    def __init__(self, group: Any, calls: int = 1) -> None:
        self._group, self._calls = group, calls
        self._actors: dict[str, Any] = {}
        self._pids: dict[str, futures.Future[int]] = {}

    def _start(
        self,
        name: str,
        bundle: int | None,
        share: Mapping[str, float],
        factory: Callable[..., object],
        *arguments: Any,
    ) -> Worker:
        worker = start_actor(
            name, self._group, bundle, share, factory, *arguments, calls=self._calls
        )
        self._actors[name] = worker.actor
        self._pids[name] = worker.actor.pid.remote().future()  # a busy one would not answer later
        return worker

    def share(self, value: Any) -> Pending:
        import ray

        return Remote(ray.put(value))

    def fetch(self, pending: Sequence[Pending]) -> list[Any]:
        return results(pending, self._name_of)

    def _name_of(self, actor_id: str | None) -> str:
        found = self._actors.items()
        names = [name for name, actor in found if actor._actor_id.hex() == actor_id]
        return names[0] if names else "a worker"

    def is_ready(self, pending: Pending) -> bool:
        assert isinstance(pending, Remote)
        return pending.answer.done()

    def when_ready(self, pending: Pending, then: Callable[[], None]) -> None:
        """Call `then`, in whatever thread, as soon as `fetch` would return without waiting."""
        assert isinstance(pending, Remote)
        pending.answer.add_done_callback(lambda _: then())

    def pids(self) -> dict[str, int]:
        from ray.exceptions import RayActorError

        found: dict[str, int] = {}
        for name, answer in self._pids.items():
            if answer.done():
                with suppress(RayActorError):
                    found[name] = answer.result()
        return found

    def wait(self, pending: Sequence[Pending], timeout_s: float) -> None:
        answers = [one.answer for one in pending if isinstance(one, Remote)]
        futures.wait(answers, timeout_s, futures.FIRST_COMPLETED)

    def free_cpus(self) -> float:
        import ray
        from ray.util import placement_group_table

        states = [row["state"] for row in placement_group_table().values()]
        if "PENDING" in states or "RESCHEDULING" in states:
            return -1.0
        free = ray.available_resources()  # type: ignore[no-untyped-call]
        return float(free.get("CPU", 0.0))

    def spans_nodes(self) -> bool:
        import ray

        nodes = ray.nodes()  # type: ignore[no-untyped-call]
        return sum(bool(node["Alive"]) for node in nodes) > 1

    def end(self, worker: Worker) -> None:
        import ray

        assert isinstance(worker, RayWorker)
        ray.kill(worker.actor)

    def close(self) -> None:
        import ray

        for actor in self._actors.values():
            ray.kill(actor)


class RayCrew(Actors):
    """In a placement group of `bundles`: the one that this process was given a place in by
    `cluster_host`, or else one of a private Ray's. The calling process takes no CPU of it.

    Samplers beyond those that the bundles are for are found room `anywhere`, or else share the
    bundles of the first ones. The evaluator and all others who are no samplers live beside the
    learner.
    """

    def __init__(self, resources: Resources, samplers: int, anywhere: bool = True) -> None:
        self._anywhere = anywhere
        group = own_group()
        self._private = group is None
        self._share = share_of_sampler(resources, samplers)
        self._gpus = resources.gpus
        if group is None:
            prepare_libraries(own_ray=True)  # before Ray is imported for the first time
            threads_give_way()  # in the workers of a Ray that starts here
            with keeping_signal_handlers():
                connect(resources, "local")
            group = place(bundles(resources, samplers))
        super().__init__(group)

    @property
    def _last(self) -> int:
        return len(self._group.bundle_specs) - 1

    def spawn(self, name: str, factory: Callable[..., object], *arguments: Any) -> Worker:
        collects = name.startswith(SAMPLER)
        share = {"CPU": self._share} if collects else {}
        if name == LEARNER:
            share = {"GPU": self._gpus}
        if name in BACKGROUND:
            factory, arguments = behind_others, (packed(factory, *arguments),)
        bundle = int(name.removeprefix(SAMPLER)) if collects else self._last
        if collects and bundle >= self._last:  # one that has joined
            if self._anywhere:
                return self._start(name, None, share, factory, *arguments)
            bundle, share = bundle % self._last, {}
        return self._start(name, bundle, share, factory, *arguments)

    def helpers(self) -> Callable[[], Crew]:
        return partial(Helpers, self._group, self._last)

    def close(self) -> None:
        import ray
        from ray.util.placement_group import remove_placement_group

        super().close()
        if self._private:
            remove_placement_group(self._group)
            ray.shutdown()


def share_of_sampler(resources: Resources, samplers: int) -> float:
    """CPUs. Samplers and the learner of a synchronous algorithm take turns, so half of the CPUs is
    reckoned to either side.
    """
    return round(min(1.0, resources.cpus / (2 * samplers)), 4)


def bundles(resources: Resources, samplers: int) -> list[dict[str, float]]:
    """Of a crew's placement group: one a sampler, then one for the learner and all others."""
    share = share_of_sampler(resources, samplers)
    rest: dict[str, float] = {"CPU": round(resources.cpus - samplers * share, 4)}
    if resources.gpus:
        rest["GPU"] = resources.gpus
    return [{"CPU": share}] * samplers + [rest]


class Helpers(Actors):
    """Actors that a worker starts in turn, beside itself: they end with it."""

    def __init__(self, group: Any, bundle: int) -> None:
        super().__init__(group)
        self._bundle = bundle

    def spawn(self, name: str, factory: Callable[..., object], *arguments: Any) -> Worker:
        return self._start(name, self._bundle, {}, factory, *arguments)

    def helpers(self) -> Callable[[], Crew]:
        return partial(Helpers, self._group, self._bundle)


def packed(factory: Callable[..., object], *arguments: Any) -> bytes:
    """Both, to be opened in the worker when it is time: Ray opens what it is given at once."""
    from ray import cloudpickle

    content: bytes = cloudpickle.dumps((factory, arguments))  # type: ignore[no-untyped-call]
    return content


def behind_others(content: bytes) -> object:
    """What the packed factory makes, in a process that others go before from now on, also while
    it imports what it needs.
    """
    from ray import cloudpickle

    os.nice(NICENESS)
    factory, arguments = cloudpickle.loads(content)
    return factory(*arguments)
