"""How long an exchange between neighbours takes: processes in a ring on loopback, mutual TLS.

    python tests/benchmarks/peer_exchange.py [--peers 8] [--size 1000000] [--rounds 20]

Each peer sends its float32 vector to both neighbours and waits for theirs. The time of a round is
that of its slowest peer. Prints one JSON object; sizes in bytes, times in seconds.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from covey.federation.p2p.peer_folder import make_folder

LONE_PEER = Path(__file__).with_name("lone_peer.py")
WARM_UP = 2


def free_addresses(count: int) -> list[str]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{probe.getsockname()[1]}" for probe in probes]
    for probe in probes:
        probe.close()
    return addresses


def ring(folder: Path, peers: int, *options: str) -> list[subprocess.Popen[str]]:
    """One process a peer."""
    make_folder(folder, free_addresses(peers))
    processes = []
    for number in range(peers):
        both = sorted({f"peer-{(number + shift) % peers}" for shift in (1, -1)})
        command = [sys.executable, str(LONE_PEER), str(folder / f"peer-{number}" / "peer.yaml")]
        command += ["--neighbours", ",".join(both), *options]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    return processes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=int, default=8)
    parser.add_argument("--size", type=int, default=1_000_000, help="numbers in a vector")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--pause-s", type=float, default=0.0, help="in the place of training")
    arguments = parser.parse_args()
    options = [f"--size={arguments.size}", f"--rounds={arguments.rounds}"]
    options += [f"--pause-s={arguments.pause_s}"]
    with tempfile.TemporaryDirectory() as folder:
        processes = ring(Path(folder) / "peers", arguments.peers, *options)
        said = [process.communicate()[0].splitlines() for process in processes]
    peers = [[json.loads(line) for line in lines] for lines in said]
    rounds = [[told for told in lines if "got" in told] for lines in peers]
    ends = [next(told for told in lines if "figures" in told) for lines in peers]
    degree = min(2, arguments.peers - 1)
    slowest = [max(told["s"] for told in at_once) for at_once in zip(*rounds, strict=True)]
    # Without the handshakes before the first round; in the last some have left already.
    vectors = degree * 4 * arguments.size * (arguments.rounds - 2)
    carried = [lines[-2]["wire_bytes"] - lines[0]["wire_bytes"] for lines in rounds]
    report = {
        "peers": arguments.peers,
        "size_bytes": 4 * arguments.size,
        "whole_rounds": sum(
            all(len(told["got"]) == degree for told in at_once)
            for at_once in zip(*rounds, strict=True)
        ),
        "exchange_s": {"median": median(slowest[WARM_UP:]), "max": max(slowest[WARM_UP:])},
        "messages_per_peer_and_round": sorted(
            {end["figures"]["messages_sent"] / arguments.rounds for end in ends}
        ),
        "wire_bytes_per_vector_byte": round(max(carried) / vectors, 5),
        "retries": sum(end["figures"].get("retries", 0) for end in ends),
        "refused": sum(end["figures"]["refused"] for end in ends),
        "peak_mib": max(told["peak_mib"] for lines in rounds for told in lines),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
