"""Whether a peer stands any bytes on its port: no crash, memory flat, exchanges go on.

    python tests/benchmarks/fuzz_peer.py [--seconds 300] [--seed 0]

Three peers in a ring exchange all the time. One of them is sent: random bytes, with and without the
first bytes of TLS and HTTP/2; random HTTP/2 frames by somebody with a good certificate; and gRPC
calls by the same with spoilt headers, chunks and deadlines. Prints one JSON object.
"""

import argparse
import json
import random
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from peer_exchange import LONE_PEER, free_addresses

from covey.federation.p2p.peer_folder import make_folder
from covey.federation.p2p.wire_header import CHUNK, HEADER_KEY, cut
from covey.federation.p2p.wire_service import SERVICE

SIZE = 400_000
TARGET, STRANGER = "peer-0", "peer-3"
HEADS = (
    b"",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/1.1\r\n\r\n",
)


class Fuzzer:
    """All that is tried on one port; the certificate is that of a peer which does not run."""

    def __init__(self, folder: Path, port: int, run: str, seed: int) -> None:
        self._home = folder / STRANGER
        self._port = port
        self._random = random.Random(seed)
        good = cut(np.ones(SIZE, np.float32))
        self._chunks = list(good.chunks)
        self._header: dict[str, Any] = {
            "run": run,
            "sender": STRANGER,
            "session": 1,
            "round": 0,
            "step": 0,
            "kind": "vector",
            "dtype": good.dtype,
            "shape": list(good.shape),
            "digest": good.digest,
        }
        self._channel = self._connected()
        self.tried: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()

    def step(self) -> None:
        """One attempt, of any kind."""
        kinds: tuple[Callable[[], None], ...] = (self._bytes, self._frames, self._send, self._short)
        kind = self._random.choice(kinds)
        self.tried[kind.__name__.strip("_")] += 1
        try:
            kind()
        except grpc.RpcError as error:
            self.answers[error.code().name] += 1
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                # After eight chunks that are too long gRPC takes no more calls on a connection.
                self._channel.close()
                self._channel = self._connected()
        except (OSError, ValueError):
            pass  # what it answers is not the question

    def _connected(self) -> grpc.Channel:
        pem = [(self._home / name).read_bytes() for name in ("root.pem", "peer.key", "peer.pem")]
        options = [("grpc.ssl_target_name_override", TARGET), ("grpc.enable_retries", 0)]
        credentials = grpc.ssl_channel_credentials(*pem)
        return grpc.secure_channel(f"127.0.0.1:{self._port}", credentials, options)

    def _bytes(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection:
            connection.sendall(self._random.choice(HEADS) + self._noise(20_000))
            if self._random.random() < 0.2:
                connection.settimeout(0.2)
                connection.recv(1_000)

    def _frames(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self._home / "root.pem")
        context.load_cert_chain(self._home / "peer.pem", self._home / "peer.key")
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection(("127.0.0.1", self._port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=TARGET) as connection,
        ):
            connection.sendall(HEADS[1] + b"\0\0\0\x04\0\0\0\0\0")  # empty settings
            for _ in range(self._random.randrange(1, 30)):
                body = self._noise(400)
                kind, flags = self._random.randrange(12), self._random.randrange(256)
                stream = self._random.randrange(8)
                head = len(body).to_bytes(3, "big") + bytes([kind, flags])
                connection.sendall(head + stream.to_bytes(4, "big") + body)

    def _send(self) -> None:
        header, chunks = dict(self._header), list(self._chunks)
        self._header["round"] += self._random.random() < 0.1
        match self._random.randrange(6):
            case 0:
                key = self._random.choice(list(header))
                header[key] = self._random.choice([None, -1, 2**70, "x" * 3_000, [], True, 1e308])
            case 1:
                header["shape"] = [self._random.choice([1, SIZE - 1, 2**30, 2**39])]
            case 2:
                chunks.insert(self._random.randrange(3), self._noise(2 * CHUNK))
            case 3:
                chunks = [bytes(CHUNK)] * 200
            case 4:
                chunks = [self._noise(CHUNK) for _ in chunks]
            case 5:
                chunks = [bytes(self._random.randrange(30) * CHUNK)]
        encoded = json.dumps(header).encode()
        if self._random.random() < 0.2:
            encoded = self._noise(5_000)
        timeout_s = self._random.choice([0.05, 1, 5, 10_000])
        send = self._channel.stream_unary(f"/{SERVICE}/Send")
        send(iter(chunks), timeout=timeout_s, metadata=((HEADER_KEY, encoded),))

    def _short(self) -> None:
        name = self._random.choice(["Greet", "Leave", "Nothing"])
        method = self._channel.unary_unary(f"/{SERVICE}/{name}")
        method(self._noise(10_000), timeout=self._random.choice([0.05, 5]))

    def _noise(self, most: int) -> bytes:
        return self._random.randbytes(self._random.randrange(most))


class Target:
    """The peer's process, as the system sees it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._proc = Path("/proc") / str(process.pid)

    def rss_mib(self) -> float:
        pages = int((self._proc / "statm").read_text().split()[1])
        return pages * 4096 / 2**20

    def counts(self) -> dict[str, int]:
        return {name: len(list((self._proc / name).iterdir())) for name in ("fd", "task")}


def follow(process: "subprocess.Popen[str]", said: list[dict[str, Any]]) -> threading.Thread:
    assert process.stdout

    def read() -> None:
        for line in process.stdout or ():
            said.append(json.loads(line))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(fuzz(Path(name) / "peers", arguments.seconds, arguments.seed)))


def fuzz(folder: Path, seconds: float, seed: int) -> dict[str, Any]:
    addresses = free_addresses(4)
    run = make_folder(folder, addresses).run
    names = [TARGET, "peer-1", "peer-2"]
    processes, said, readers = [], [], []
    for peer in names:
        others = ",".join(other for other in names if other != peer)
        command = [sys.executable, str(LONE_PEER), str(folder / peer / "peer.yaml")]
        command += [f"--neighbours={others}", "--rounds=100000000", f"--size={SIZE}"]
        process = subprocess.Popen([*command, "--pause-s=0.2"], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        said.append([])
        readers.append(follow(process, said[-1]))
    try:
        while not all(sum("got" in told for told in list(lines)) > 10 for lines in said):
            time.sleep(0.1)
        target = Target(processes[0])
        port = int(addresses[0].rpartition(":")[2])
        fuzzer = Fuzzer(folder, port, run, seed)
        curve, counts = attack(fuzzer, target, seconds)
        before = [rounds(lines) for lines in said]
        time.sleep(5)
        after = [rounds(lines)[len(first) :] for lines, first in zip(said, before, strict=True)]
        refused = [told["message"] for told in said[0] if told.get("event") == "refused"]
        return {
            "seconds": seconds,
            "tried": dict(fuzzer.tried),
            "answers": dict(fuzzer.answers),
            "alive": [process.poll() is None for process in processes],
            "rss_mib": curve,
            "fd_and_threads": counts,
            "rounds": [len(lines) for lines in before],
            "rounds_without_a_neighbour": [sum(len(got) < 2 for got in lines) for lines in before],
            "whole_rounds_in_5_s_after": [sum(len(got) == 2 for got in lines) for lines in after],
            "refused_events": len(refused),
            "last_refused": refused[-3:],
        }
    finally:
        for process in processes:
            process.kill()
            process.wait()


def rounds(lines: list[dict[str, Any]]) -> list[list[str]]:
    return [told["got"] for told in list(lines) if "got" in told]


def attack(fuzzer: Fuzzer, target: Target, seconds: float) -> tuple[list[float], list[object]]:
    """The target's memory at eleven moments, and its descriptors and threads at both ends."""
    begun = time.monotonic()
    curve, counts = [round(target.rss_mib(), 1)], [target.counts()]
    for tenth in range(1, 11):
        while time.monotonic() < begun + tenth * seconds / 10:
            fuzzer.step()
        curve.append(round(target.rss_mib(), 1))
    return curve, [*counts, target.counts()]


if __name__ == "__main__":
    main()
