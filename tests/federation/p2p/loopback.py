"""Peers on loopback with real certificates, and a wire between two of them that can be cut."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from covey.federation.p2p.peer_config import PeerConfig, load_peer_config
from covey.federation.p2p.peer_folder import make_folder
from covey.federation.p2p.wire_exchange import Exchange
from covey.federation.p2p.wire_header import CHUNK, HEADER_KEY, Cut, Form, Header, cut
from covey.federation.p2p.wire_service import SERVICE

SIZE = CHUNK // 4 + 1_000
"""Numbers in a vector of the tests: one whole chunk and a short one."""
LONG_S = 300
"""For exchanges that are to be over long before, even on a machine that pauses."""


def vector(value: float, size: int = SIZE) -> np.ndarray[Any, Any]:
    return np.full(size, value, np.float32)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def wait_for(condition: Callable[[], Any], limit_s: float = 120) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)


@contextlib.contextmanager
def at_once(limit_s: float = 60) -> Iterator[None]:
    """What happens within takes no whole deadline of `LONG_S`."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < limit_s


class Peers:
    """A folder of peers, and those of them that run in this process."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
        self.run = make_folder(folder, self.addresses).run
        self.names = [f"peer-{number}" for number in range(count)]
        self.events: list[dict[str, Any]] = []
        self.running: dict[str, Exchange] = {}

    def config(self, name: str) -> PeerConfig:
        return load_peer_config(self.folder / name / "peer.yaml")

    def start(self, name: str, round: int = 0, size: int = SIZE, **changes: Any) -> Exchange:
        def note(kind: str, message: str, **facts: Any) -> None:
            self.events.append({"at": name, "kind": kind, "message": message, **facts})

        forms = {"vector": Form("float32", (size,)), "coded": Form("uint8", (100,), exact=False)}
        facts = {"samples": 10 + int(name[-1])}
        config = self.config(name).model_copy(update=changes)
        self.running[name] = exchange = Exchange(config, forms, note, facts)
        exchange.start(round)
        return exchange

    def start_all(self) -> list[Exchange]:
        return [self.start(name) for name in self.names]

    def stop(self, name: str) -> None:
        """As if its process had ended: no goodbye."""
        self.running.pop(name).close()

    def round(
        self, round: int, step: int = 0, timeout_s: float = 60, names: Collection[str] = ()
    ) -> dict[str, dict[str, float]]:
        """All that run exchange the numbers of their names; what each got, by name."""
        got: dict[str, dict[str, float]] = {}

        def one(name: str) -> None:
            others = [other for other in self.names if other != name]
            mine = vector(float(name[-1]) + 100 * round + 10 * step)
            theirs = self.running[name].exchange(round, step, mine, others, timeout_s)
            got[name] = {peer: float(vector[-1]) for peer, vector in theirs.items()}

        threads = [
            threading.Thread(target=one, args=(name,)) for name in names or list(self.running)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return got

    def all_asked(self) -> None:
        """Return once whoever was asked in the background has answered, or has not."""
        wait_for(lambda: not any(one._calls._asking for one in self.running.values()))

    def said(self, kind: str, at: str | None = None) -> list[str]:
        return [
            event["message"]
            for event in self.events
            if event["kind"] == kind and at in (None, event["at"])
        ]

    def reach_through(self, wire_port: int, name: str, of: str) -> None:
        """Have one peer look for another at a wire's near end."""
        file = self.folder / of / "peers.yaml"
        own = self.addresses[self.names.index(name)]
        file.write_text(file.read_text().replace(own, f"127.0.0.1:{wire_port}"))

    def port(self, name: str) -> int:
        return int(self.addresses[self.names.index(name)].rpartition(":")[2])

    def channel(self, to: str, certificate_of: str | None) -> grpc.Channel:
        address = f"127.0.0.1:{self.running[to].port}"
        return channel(self.folder, address, to, certificate_of)

    def header(self, of: str, pieces: Cut, **changes: Any) -> Header:
        plain = {
            "run": self.run,
            "sender": of,
            "session": 1,
            "round": 0,
            "step": 0,
            "kind": "vector",
            "dtype": pieces.dtype,
            "shape": pieces.shape,
            "digest": pieces.digest,
        }
        return Header(**{**plain, **changes})


def channel(folder: Path, address: str, to: str, certificate_of: str | None) -> grpc.Channel:
    """A connection to a peer of somebody who has the certificate of a peer of that folder."""
    home = folder / (certificate_of or to)
    own = (home / "peer.key", home / "peer.pem") if certificate_of else (None, None)
    pem = [file.read_bytes() if file else None for file in (home / "root.pem", *own)]
    options = [("grpc.ssl_target_name_override", to), ("grpc.enable_retries", 0)]
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(*pem), options)


def send(
    channel: grpc.Channel, header: Header | bytes, chunks: Any, timeout_s: float | None = 60
) -> tuple[str, str]:
    """One message as it stands; the status and its text, or OK and the receipt."""
    data = header if isinstance(header, bytes) else header.encoded()
    call = channel.stream_unary(f"/{SERVICE}/Send")
    try:
        answer = call(iter(chunks), timeout=timeout_s, metadata=((HEADER_KEY, data),))
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "OK", answer.decode()


class Wire:
    """TCP through a port of its own to another: counted, and cut or silent when told to."""

    def __init__(self, to_port: int) -> None:
        self._to = to_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.bytes_up = 0
        self.swallow_when: Callable[[], object] = lambda: False
        """The first answer after this has come true is lost, and the connection with it."""
        self.is_cut = False
        self.connections = 0
        self._flows = threading.Event()
        self._flows.set()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        self._hang_up()
        self._flows.set()

    def cut(self) -> None:
        """End all connections, and any new one at once."""
        self.is_cut = True
        self._hang_up()

    def silence(self) -> None:
        """Hold back every byte, as when the line is pulled out: nobody is told."""
        self._flows.clear()

    def mend(self) -> None:
        self.is_cut = False
        self._flows.set()

    def _hang_up(self) -> None:
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._open = []

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                if self.is_cut:
                    raise ConnectionRefusedError
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:  # the other side may begin to listen later
                near.close()
                continue
            self.connections += 1
            self._open += [near, far]
            threading.Thread(target=self._up, args=(near, far), daemon=True).start()
            threading.Thread(target=self._down, args=(far, near), daemon=True).start()

    def _up(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(2**16):
                self.bytes_up += len(data)
                self._flows.wait()
                sink.sendall(data)

    def _down(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(2**16):
                if self.swallow_when():
                    self.swallow_when = lambda: False
                    self._hang_up()
                    return
                self._flows.wait()
                sink.sendall(data)


def pieces(value: float = 1.0) -> Cut:
    return cut(vector(value))
