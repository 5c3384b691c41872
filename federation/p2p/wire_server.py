"""The port that a peer listens on: mutual TLS, bounded messages, streams and threads."""

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from covey.federation.p2p.peer_config import PeerConfig
from covey.federation.p2p.wire_door import Door, door
from covey.federation.p2p.wire_line import FRAME
from covey.federation.p2p.wire_refusal import Refusals
from covey.platform.errors import UserError

Credentials = Any
"""gRPC's, of the calling side; its own type has no annotations."""
THREADS = 16
HANDSHAKE_S = 10
MAX_METADATA = 8_192
OPTIONS: list[tuple[str, object]] = [
    ("grpc.max_receive_message_length", FRAME),
    ("grpc.max_concurrent_streams", 8),  # of one connection
    ("grpc.max_metadata_size", MAX_METADATA),
    ("grpc.absolute_max_metadata_size", MAX_METADATA),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_S * 1_000),
    ("grpc.max_connection_idle_ms", 600_000),
    ("grpc.so_reuseport", 0),  # or a second peer on the port would take half of the first's calls
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),  # neighbours ask after 10 s
]


class Server:
    """Made first, so the port is known; `start` lets calls in."""

    def __init__(self, config: PeerConfig, refusals: Refusals) -> None:
        """UserError when the port cannot be had or the TLS files cannot be used."""
        self._door: Door | None = None
        tls = config.tls
        root, certificate, key = (_read(file) for file in (tls.root, tls.certificate, tls.key))
        pair = [(key, certificate)]
        shown = grpc.ssl_server_certificate_configuration(pair, root)
        credentials = grpc.dynamic_ssl_server_credentials(shown, self._knocked, True)
        self._server = grpc.server(
            ThreadPoolExecutor(THREADS, f"{config.peer}-call"), options=OPTIONS
        )
        try:
            self.port: int = self._server.add_secure_port(config.listen, credentials)
        except RuntimeError:
            raise UserError(f"{config.peer}: {_why_not(config)}") from None
        self._door = door(refusals, self.port)
        self.credentials: Credentials = grpc.ssl_channel_credentials(root, key, certificate)

    def start(self, handler: Any) -> None:
        """Answer calls from now on."""
        self._server.add_generic_rpc_handlers((handler,))
        self._server.start()

    def called(self, address: str) -> None:
        """A call has come from there."""
        if self._door is not None:
            self._door.called(address)

    def sweep(self) -> None:
        """Count the connections that were turned away before they could call."""
        if self._door is not None:
            self._door.sweep()

    def stop(self, grace_s: float) -> None:
        """Take no more calls; those that run may end within the grace."""
        self._server.stop(grace_s).wait()

    def _knocked(self) -> None:
        """gRPC asks for a new certificate at each handshake; there is none."""
        if self._door is not None:
            self._door.knocked()


def _why_not(config: PeerConfig) -> str:
    """gRPC does not tell why it cannot listen."""
    host, _, port = config.listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host.strip("[]"), int(port)), family=family).close()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
    except OverflowError as error:
        reason = str(error)
    else:
        return (
            "a TLS file is wrong: the key must be the certificate's, and both be PEM, as the root"
        )
    return f"listen: {config.listen} cannot be had: {reason}"


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise UserError(f"{file}: {error.strerror or error}") from None
