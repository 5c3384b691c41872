"""A worker as a Ray actor, from both of its sides. The only file that makes any."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from functools import cached_property
from typing import Any

from covey.platform.errors import UserError
from covey.platform.runtime.crew import Pending, WorkerLost

RELAY, RELAY_CALLS = "relay", 128
"""Started anew by Ray when it dies. Each sampler elsewhere has a call or two there all the time."""


class Host:
    """Lives in a worker's process and calls what it holds.

    What its factory raises is raised by every call: Ray would make a dead actor of it, which looks
    like one that may be tried again.
    """

    def __init__(self, factory: Callable[..., object], *arguments: Any) -> None:
        self._error: Exception | None = None
        try:
            self._target = factory(*arguments)
        except Exception as error:
            self._error = error

    def pid(self) -> int:
        return os.getpid()

    def call(self, method: str, *arguments: Any) -> Any:
        if self._error is not None:
            raise self._error
        return getattr(self._target, method)(*arguments)


class Remote:
    """A result in Ray's object store, now or soon."""

    def __init__(self, reference: Any) -> None:
        self.reference = reference

    @cached_property
    def answer(self) -> futures.Future[Any]:
        """The value once it is there: to look at it, or to wait for it, is no call of Ray."""
        found: futures.Future[Any] = self.reference.future()
        return found


class RayWorker:
    """An actor behind the interface of a worker. Ray keeps the order of one caller's calls."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor

    def submit(self, method: str, *arguments: Any) -> Pending:
        plain = (one.reference if isinstance(one, Remote) else one for one in arguments)
        return Remote(self.actor.call.remote(method, *plain))


def start_actor(
    name: str,
    group: Any,
    bundle: int | None,
    share: Mapping[str, float],
    factory: Callable[..., object],
    *arguments: Any,
    keeps_children: bool = False,
    calls: int = 1,
) -> RayWorker:
    """An actor that holds what `factory` makes, in a bundle of a placement group (None: outside of
    it, on any node), with a share of the bundle's CPUs and GPUs; with `keeps_children` those that
    it starts stay in the group. `calls`: see `Actors`.
    """
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    # Named for `ps` and Ray's own pages: the process is called ray::sampler-0.
    role = type(name.replace(" ", "-"), (Host,), {})
    actor: Any = ray.remote(role).options(
        num_cpus=share.get("CPU", 0),
        num_gpus=share.get("GPU", 0),
        max_concurrency=RELAY_CALLS if name == RELAY else calls,
        max_restarts=-1 if name == RELAY else 0,
        scheduling_strategy="SPREAD"
        if bundle is None
        else PlacementGroupSchedulingStrategy(
            group, bundle, placement_group_capture_child_tasks=keeps_children
        ),
    )
    return RayWorker(actor.remote(factory, *arguments))


def results(pending: Sequence[Pending], name_of: Callable[[str | None], str]) -> list[Any]:
    """What the calls returned, or raised; WorkerLost names the actor whose process died."""
    from ray.exceptions import RayActorError, RayTaskError

    answers = [one.answer for one in pending if isinstance(one, Remote)]
    try:
        values = [answer.result() for answer in answers]
    except RayActorError as error:
        raise WorkerLost(f"{name_of(error.actor_id)} died: {error}") from error
    except RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise error.cause from error  # the worker's own story stays in the traceback
    return values
