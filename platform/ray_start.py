"""How a Ray of ours starts where Ray has no setting for it."""

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from covey.platform.errors import UserError

_PORTS = range(20_000, 32_000)


@contextmanager
def agents_given_ports() -> Iterator[None]:
    """Begin Ray inside this: its agents may take long to start.

    A raylet waits 15 s for each port that an agent chooses for itself, and ends, without a word
    from `ray start` or `ray.init` (ray-project/ray#65983). With ports it knows, it does not wait.
    """
    from ray._private import services

    private: Any = services
    start_raylet, start_process = private.start_raylet, private.start_ray_process
    metrics, export, environments, listen = free_ports(4)

    def with_ports(*arguments: Any, **more: Any) -> Any:
        more |= {
            "metrics_agent_port": metrics,
            "metrics_export_port": export,
            "runtime_env_agent_port": environments,
            "dashboard_agent_listen_port": listen,
        }
        return start_raylet(*arguments, **more)

    def with_last_port(command: list[str], process_type: str, *rest: Any, **more: Any) -> Any:
        if process_type == "raylet":  # Ray tells only the agent
            command = [*command, f"--dashboard_agent_listen_port={listen}"]
        return start_process(command, process_type, *rest, **more)

    private.start_raylet, private.start_ray_process = with_ports, with_last_port
    try:
        yield
    finally:
        private.start_raylet, private.start_ray_process = start_raylet, start_process


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now; held together until all are found, so that they differ."""
    with ExitStack() as stack:
        held = [stack.enter_context(held_port()) for _ in range(count)]
        return [int(found.getsockname()[1]) for found in held]


def held_port() -> socket.socket:
    """Bound to a port that nobody listens on: nobody else gets it until this socket is closed.

    Taken from between Ray's range for workers and the one the system draws outgoing ports from: who
    asks binds it seconds later, and a port drawn by the system was often taken by then.
    """
    for port in random.sample(_PORTS, 200):
        candidate = socket.socket()
        try:
            candidate.bind(("", port))  # Ray's own servers listen on every interface
        except OSError:
            candidate.close()
            continue
        return candidate
    raise UserError(f"no free port was found between {_PORTS[0]} and {_PORTS[-1]}")
