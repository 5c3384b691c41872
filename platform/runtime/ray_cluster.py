"""A private Ray or somebody's cluster, and a job's room in it."""

import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

from covey.platform.errors import UserError
from covey.platform.jobfile.model import Resources
from covey.platform.ray_start import agents_given_ports

PLACEMENT_LIMIT_S = 120.0
_LOOK_S = 0.2
OBJECT_STORE_BYTES = 200 * 2**20


class StartInterrupted(RuntimeError):
    """SIGTERM came while Ray was starting; who asks for it has been told."""


class NoRoom(RuntimeError):
    """The cluster is big enough for the job, but full: a later attempt may find room."""


def connect(resources: Resources, address: str) -> None:
    """Start a private Ray, or join a cluster."""
    import ray

    common: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if address == "local":
        common |= {
            "num_cpus": max(1, -int(-resources.cpus // 1)),
            "num_gpus": -int(-resources.gpus // 1),
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
    with agents_given_ports():
        ray.init(address=address, **common)


def place(bundles: list[dict[str, float]], cancelled: Callable[[], bool] | None = None) -> Any:
    """The placement group, once the cluster has room for all of it.

    After `PLACEMENT_LIMIT_S`: UserError if the cluster is too small, NoRoom if others fill it. Who
    can tell that the room is wanted no more, by `cancelled`, waits for others without a limit; it
    is told so by CancelledError.
    """
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    group = placement_group(bundles, strategy="PACK")
    deadline_s = time.monotonic() + PLACEMENT_LIMIT_S
    try:
        while not group.wait(_LOOK_S):
            if cancelled is not None and cancelled():
                raise CancelledError
            if time.monotonic() > deadline_s:
                nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]  # type: ignore[no-untyped-call]
                if why := too_small(bundles, nodes):
                    raise UserError(f"this job never fits on the Ray cluster: {why}")
                if cancelled is None:
                    raise NoRoom(_no_room(bundles))
    except BaseException:
        remove_placement_group(group)
        raise
    return group


def too_small(bundles: Sequence[Mapping[str, float]], nodes: Sequence[Mapping[str, float]]) -> str:
    """Why these never fit on these nodes; nothing if they may, with all of them free."""
    for kind in ("CPU", "GPU"):
        wanted = [bundle.get(kind, 0.0) for bundle in bundles]
        there = [node.get(kind, 0.0) for node in nodes]
        if sum(wanted) > sum(there):
            return f"{sum(wanted):g} {kind} wanted, {sum(there):g} there"
        if max(wanted) > max(there, default=0.0):
            largest = f"{max(there, default=0.0):g} on the largest node"
            return f"{max(wanted):g} {kind} wanted for one of its parts, {largest}"
    return ""


def _no_room(bundles: Sequence[Mapping[str, float]]) -> str:
    import ray

    free = ray.available_resources()  # type: ignore[no-untyped-call]
    totals = {kind: sum(bundle.get(kind, 0.0) for bundle in bundles) for kind in ("CPU", "GPU")}
    found = ", ".join(
        f"{amount:g} {kind} wanted, {free.get(kind, 0):g} free"
        for kind, amount in totals.items()
        if amount
    )
    return f"no room for this job on the Ray cluster for {PLACEMENT_LIMIT_S:g} s: {found}"


def own_group() -> Any | None:
    """The placement group that this process is an actor in; None for any other process."""
    import sys

    if "ray" not in sys.modules:  # an actor has imported it
        return None
    from ray.util import get_current_placement_group

    return get_current_placement_group()


def node_address() -> str:
    """Of the node that this process of Ray's is on, as other nodes reach it."""
    import ray

    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


def node_id() -> str:
    """Of the node that this process of Ray's is on."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


@contextmanager
def keeping_signal_handlers() -> Iterator[None]:
    """Ray puts a SIGTERM handler of its own, which exits, in the process's place: put back what was
    there. What came meanwhile is handed on to it, as StartInterrupted; or without that, where the
    exit went unnoticed, as it does out of a hook of a fork.
    """
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    heard, told = socket.socketpair()
    for end in (heard, told):
        end.setblocking(False)
    before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)

    def put_back() -> None:
        for number, handler in kept.items():
            if handler is not None:
                signal.signal(number, handler)

    try:
        yield
    except SystemExit as exit_of_ray:
        put_back()
        ours = kept[signal.SIGTERM]
        if not callable(ours):
            raise
        ours(signal.SIGTERM, None)
        raise StartInterrupted("SIGTERM while Ray was starting") from exit_of_ray
    else:
        put_back()
        ours = kept[signal.SIGTERM]
        if signal.SIGTERM in came(heard) and callable(ours):
            ours(signal.SIGTERM, None)
    finally:
        put_back()
        signal.set_wakeup_fd(before)
        heard.close()
        told.close()


def came(heard: socket.socket) -> bytes:
    """The numbers of the signals that were told of."""
    try:
        return heard.recv(4096)
    except BlockingIOError:
        return b""
