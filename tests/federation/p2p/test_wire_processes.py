"""Peers as processes of their own, which are killed and come back: nobody else falls."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from loopback import free_ports, wait_for

from covey.federation.p2p.peer_folder import make_folder

LONE_PEER = Path(__file__).parents[2] / "benchmarks" / "lone_peer.py"
SIZE = 1_000_000
ROUNDS = 60


class Process:
    """A running peer, and all that it has said."""

    def __init__(self, folder, name, neighbours, *more):
        command = [sys.executable, str(LONE_PEER), str(folder / name / "peer.yaml")]
        options = [f"--neighbours={','.join(neighbours)}", f"--rounds={ROUNDS}", *more]
        options += [f"--size={SIZE}", "--pause-s=0.1", "--timeout-s=20"]
        self.said = []
        self._process = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self.said.append(json.loads(line))

    def rounds(self):
        return {told["round"]: told for told in list(self.said) if "got" in told}

    def events(self, kind):
        return [told["message"] for told in list(self.said) if told.get("event") == kind]

    def kill(self):
        self._process.kill()
        assert self.end() == -signal.SIGKILL

    def end(self):
        status = self._process.wait(300)
        self._reader.join()
        self._process.stdout.close()
        return status


@pytest.fixture
def ring(tmp_path):
    names = [f"peer-{number}" for number in range(4)]
    folder = tmp_path / "peers"
    make_folder(folder, [f"127.0.0.1:{port}" for port in free_ports(4)])
    running = {}

    def start(name, *more):
        number = names.index(name)
        both = sorted({names[(number + 1) % 4], names[number - 1]})
        return Process(folder, name, both, *more)

    for name in names:
        running[name] = start(name)
    yield running, start
    for process in running.values():
        if process._process.poll() is None:
            process.kill()


def test_kill_9_in_the_middle_and_a_return(ring, tmp_path):
    running, start = ring
    one, two = running["peer-0"], running["peer-1"]
    # It returns long before the others are done, however long Python takes to begin.
    back = running["peer-2 again"] = start("peer-2", f"--after={tmp_path / 'return'}")
    wait_for(lambda: back.said)
    wait_for(lambda: len(one.rounds()) >= 5, limit_s=300)
    # The others are all the time within an exchange, or 0.1 s before the next.
    running.pop("peer-2").kill()
    dead_at = max(two.rounds())
    wait_for(lambda: max(two.rounds()) >= dead_at + 5, limit_s=300)
    assert two.rounds()[dead_at + 5]["got"] == ["peer-0"]
    assert len(two.events("peer_down")) == 1
    (tmp_path / "return").touch()
    assert {name: process.end() for name, process in running.items()} == dict.fromkeys(running, 0)
    (fetched,) = [told for told in back.said if "fetched_from" in told]
    assert fetched["fetched_from"] in ("peer-1", "peer-3")
    assert min(back.rounds()) > dead_at
    assert back.rounds()[ROUNDS - 2]["got"] == ["peer-1", "peer-3"]
    assert two.rounds()[ROUNDS - 2]["got"] == ["peer-0", "peer-2"]
    # Everybody has agreed, the one that came back too, and nobody has refused anybody.
    means = [process.rounds()[ROUNDS - 2]["mean"] for process in running.values()]
    assert max(means) - min(means) < 0.01
    for process in running.values():
        (refused,) = [told["refused"] for told in process.said if "refused" in told]
        # On a busy machine a connection may have been given up before anybody called over it.
        assert {reason for reasons in refused.values() for reason in reasons} <= {"handshake"}
