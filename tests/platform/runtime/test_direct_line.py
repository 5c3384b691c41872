"""How a line begins, who gets none, and what its end looks like to either side."""

import os
import socket
import stat
import struct
import threading
from multiprocessing import AuthenticationError, Pipe
from multiprocessing.connection import Client
from pathlib import Path

import pytest
from desk import Desk
from thread_crew import ThreadCrew

from covey.platform.runtime import direct_door
from covey.platform.runtime.crew import WorkerLost
from covey.platform.runtime.direct_crew import DirectCrew
from covey.platform.runtime.direct_line import Line, LineHost
from covey.platform.runtime.direct_worker import DirectWorker


def test_strangers_are_sent_away(monkeypatch):
    crew = DirectCrew(ThreadCrew())
    monkeypatch.setattr(direct_door, "PATIENCE_S", 120.0)
    path = crew._door.path
    assert stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o700
    refused = []

    def knock():
        try:
            Client(path, "AF_UNIX", authkey=b"guessed")
        except AuthenticationError as error:
            refused.append(error)

    stranger, busy = threading.Thread(target=knock), crew.spawn("desk 0", Desk)
    stranger.start()
    while stranger.is_alive():
        crew.fetch([busy.submit("note")])
    assert len(refused) == 1
    monkeypatch.setattr(direct_door, "PATIENCE_S", 0.1)
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as babbling:
        silent.connect(path)
        babbling.connect(path)
        babbling.send(b"\x00\x00\x00\x05hello" * 100)
        worker = crew.spawn("desk 1", Desk)
        assert crew.fetch([worker.submit("note")]) == [1]
        crew.wait([worker.submit("sleep", 0.5)], 60.0)
    crew.close()


def test_a_worker_goes_on_until_its_line_ends():
    door, served = direct_door.Door(), []
    host = LineHost(Desk)
    serving = threading.Thread(target=lambda: served.append(host.serve(door.path, door.key, 7)))
    serving.start()
    line, number, pid = door.admit()
    assert (number, pid) == (7, os.getpid())
    line.close()
    serving.join(60)
    door.close()
    assert served == [True]
    assert host.serve(door.path, door.key, 7) is False


@pytest.mark.parametrize("said", [b"", struct.pack("!i", 1000) + b"half", b"\0\0\0\3abc"])
def test_a_line_that_breaks_is_a_lost_worker(said):
    mine, its = Pipe()
    worker = DirectWorker("desk 0", None, None)
    worker.line = Line(mine)
    worker.submit("note")
    its.recv_bytes()
    os.write(its.fileno(), said)
    its.close()
    with pytest.raises(WorkerLost, match="desk 0 died"):
        worker.hear()
    worker.lose("desk 0 died")
