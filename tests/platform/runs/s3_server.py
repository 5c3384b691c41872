"""An S3-compatible server in a process of its own, and a line to it that can be cut."""

import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from typing import Any, Self


class S3Server:
    """Begins with the `with` block, ends with it. What is in it is in its memory."""

    def __init__(self) -> None:
        port = _free_port()
        self._url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._line = _Line(port)
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._line.port}",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",  # nobody asks a cloud that is not there
        }

    def __enter__(self) -> Self:
        until = time.monotonic() + 120
        while True:
            try:
                self._call("GET", "/moto-api/data.json")
                return self
            except OSError:
                assert self._process.poll() is None, "moto's server has ended"
                assert time.monotonic() < until, "moto's server does not answer"
                time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        self._line.close()
        self._process.kill()
        self._process.wait()

    def make_bucket(self, name: str) -> str:
        """Returns its URL."""
        self._call("PUT", f"/{name}")
        return f"s3://{name}"

    def ask_for_credentials(self, strictly: bool) -> None:
        """Whether it turns strangers away: nobody is known to it."""
        self._call("POST", "/moto-api/reset-auth", b"0" if strictly else b"inf")

    def cut(self, cut: bool) -> None:
        """Whether every connection is dropped."""
        self._line.is_cut = cut

    def _call(self, method: str, path: str, data: bytes | None = None) -> Any:
        text = {"Content-Type": "text/plain"}  # not a form, as urllib would have it
        request = urllib.request.Request(self._url + path, data, text, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()


class _Line:
    """Carries each connection to its own port on to another."""

    def __init__(self, target: int) -> None:
        self.is_cut = False
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        with caller:
            if self.is_cut:
                return
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                back = threading.Thread(target=_carry, args=(server, caller))
                back.start()
                _carry(caller, server)
                back.join()


def _carry(source: socket.socket, into: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(2**16):
            into.sendall(data)
    with suppress(OSError):
        into.shutdown(socket.SHUT_WR)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
