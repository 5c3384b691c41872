"""One peer as a process of its own, with averaging in the place of learning: for other scripts.

    python tests/benchmarks/lone_peer.py DIR/peer-0/peer.yaml --neighbours peer-1,peer-7

Each round it sends its vector and takes the mean of all that came. Prints a JSON line a round and
an event, at the end what it counted.
"""

import argparse
import json
import os
import resource
import socket
import stat
import struct
import sys
import threading
import time
from pathlib import Path

import numpy as np

from covey.platform.environment import silence_grpc

silence_grpc()

from covey.federation.p2p.peer_config import load_peer_config  # noqa: E402
from covey.federation.p2p.wire_exchange import Exchange  # noqa: E402
from covey.federation.p2p.wire_header import Form, Vector  # noqa: E402
from covey.platform.errors import UserError  # noqa: E402

TCP_INFO, BYTES_ACKED_AT = 11, 120
_lock = threading.Lock()


def tell(**facts: object) -> None:
    with _lock:
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()


def note(kind: str, message: str, **facts: object) -> None:
    tell(event=kind, message=message)


def wire_bytes() -> int:
    """What the other ends have acknowledged on this process's open connections, TLS and all."""
    return sum(acknowledged(int(name)) for name in os.listdir("/proc/self/fd"))


def acknowledged(descriptor: int) -> int:
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return 0
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            info = connection.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 192)
    except OSError:
        return 0  # of another kind, or closed meanwhile
    return int(struct.unpack_from("Q", info, BYTES_ACKED_AT)[0])


def join(exchange: Exchange, neighbours: list[str], vector: Vector) -> None:
    """Say hello; when the others are at it already, take the vector of the farthest."""
    answers = exchange.greet(neighbours, timeout_s=60)
    tell(greeted=sorted(answers), round=exchange.round)
    if exchange.round > 0:
        farthest = max(answers, key=lambda peer: answers[peer].round)
        if fetched := exchange.fetch(farthest, timeout_s=30):
            vector[:] = fetched[1]
            tell(fetched_from=farthest, round=fetched[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--neighbours", required=True, help="names, with commas between them")
    parser.add_argument("--size", type=int, default=1_000_000, help="numbers in a vector")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--pause-s", type=float, default=0.0, help="in the place of training")
    parser.add_argument("--timeout-s", type=float, default=30.0)
    parser.add_argument("--after", type=Path, help="a file to wait for, once all is imported")
    arguments = parser.parse_args()
    if arguments.after:
        tell(waits=True)
        while not arguments.after.exists():
            time.sleep(0.005)
    config = load_peer_config(arguments.config)
    neighbours = arguments.neighbours.split(",")
    vector = np.full(arguments.size, float(config.peer.rpartition("-")[2]), np.float32)
    with Exchange(config, {"vector": Form("float32", vector.shape)}, note) as exchange:
        exchange.start()
        join(exchange, neighbours, vector)
        for round in range(exchange.round, arguments.rounds):
            time.sleep(arguments.pause_s)
            begun = time.perf_counter()
            theirs = exchange.exchange(round, 0, vector, neighbours, arguments.timeout_s)
            took_s = time.perf_counter() - begun
            vector = np.mean([vector, *theirs.values()], axis=0)
            exchange.publish(round + 1, vector)
            rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            tell(
                round=round,
                got=sorted(theirs),
                s=round_off(took_s),
                mean=round_off(vector.mean()),
                peak_mib=round_off(rss_mib),
                wire_bytes=wire_bytes(),
            )
        tell(figures=exchange.figures(), refused=exchange.refused())
        exchange.leave()


def round_off(value: float) -> float:
    return float(f"{value:.4g}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(str(error)) from None
