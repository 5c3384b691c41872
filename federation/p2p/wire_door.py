"""Connections that end before anybody has shown a certificate of the run: counted and named.

gRPC turns them away in its own threads and tells nobody. It does ask for the server's certificate
at the beginning of each handshake: that is when the addresses are looked at. An address that is
gone and from which no call came was turned away (or its peer died within the handshake).
"""

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable

from covey.federation.p2p.wire_refusal import Refusals

EASE = 20
"""A look takes at most this fraction of the time; connections of which none was taken in between
are counted, under no name.
"""


class Door:
    """What came to one listening port and has not called yet."""

    def __init__(
        self, refusals: Refusals, look: Callable[[], set[str] | None], clock: Callable[[], float]
    ) -> None:
        """`look()`: the addresses that are connected now, None where nobody can tell; `clock()` in
        seconds.
        """
        self._refusals = refusals
        self._look = look
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: set[str] = set()
        self._called: set[str] = set()
        self._unseen = 0
        """Handshakes whose address no look has found yet; below 0 when a look came before one."""
        self._rest_until = 0.0

    def knocked(self) -> None:
        """A handshake begins."""
        with self._lock:
            self._unseen += 1
            turned_away = self._sweep()
        self._tell(turned_away)

    def called(self, address: str) -> None:
        """A call has come from an address: it has shown a certificate."""
        with self._lock:
            if address not in self._called:
                self._called.add(address)
                if address in self._waiting:
                    self._waiting.remove(address)
                else:
                    self._unseen -= 1

    def sweep(self) -> None:
        """Count those that have gone since the last look."""
        with self._lock:
            turned_away = self._sweep()
        self._tell(turned_away)

    def _sweep(self) -> Counter[str]:
        begun = self._clock()
        if begun < self._rest_until:
            return Counter()
        present = self._look()
        if present is None:
            return Counter()
        new = present - self._waiting - self._called
        gone = Counter(_host(address) for address in self._waiting - present)
        self._unseen -= len(new)
        gone["somebody"] = max(0, self._unseen)  # come and gone between two looks
        self._unseen = min(0, self._unseen)
        self._waiting = (self._waiting & present) | new
        self._called &= present
        now = self._clock()
        self._rest_until = now + EASE * (now - begun)
        return gone

    def _tell(self, turned_away: Counter[str]) -> None:
        for host, count in turned_away.items():
            if count:
                text = "a connection without a certificate of this run"
                self._refusals.count(host, "handshake", text, count)


def connected_to(port: int) -> set[str] | None:
    """The other ends of this process's TCP connections to a port of its own; None without /proc."""
    try:
        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return None
    return {end for descriptor in descriptors if (end := _other_end(descriptor, port)) is not None}


def _other_end(descriptor: int, port: int) -> str | None:
    """As gRPC writes it; None unless it is a connection to that port, alive."""
    try:
        copy = os.dup(descriptor)
    except OSError:
        return None  # closed meanwhile
    try:
        connection = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None  # no socket
    with connection:
        try:
            if connection.family not in (socket.AF_INET, socket.AF_INET6):
                return None
            return _written(connection.getpeername()) if _port(connection) == port else None
        except OSError:
            return None  # it listens, or has just been reset


def _port(connection: socket.socket) -> int:
    port: int = connection.getsockname()[1]
    return port


def _written(name: tuple[str, int]) -> str:
    host, port = name[0].removeprefix("::ffff:"), name[1]  # IPv4 on a socket that takes both
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"


def _host(address: str) -> str:
    return address.partition(":")[2].rpartition(":")[0]


def door(refusals: Refusals, port: int) -> Door:
    """The door of a port that this process listens on."""
    return Door(refusals, lambda: connected_to(port), time.monotonic)
