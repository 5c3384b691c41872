"""The local head is tried again for as long as jobs wait."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from covey.platform.jobs import ray_launcher
from covey.platform.jobs.launcher import Unreachable


class DeadHead:
    """Starts, and is dead at the next look."""

    log = Path("head.log")
    starts = 0

    def record(self) -> None:
        return None

    def start(self) -> None:
        self.starts += 1

    def last_words(self) -> str:
        return "OSError: no such port"


def test_a_head_that_does_not_start_is_tried_again_with_pauses(tmp_path, monkeypatch):
    now = SimpleNamespace(s=1000.0)
    monkeypatch.setattr(ray_launcher, "time", SimpleNamespace(time=lambda: now.s))
    said = []
    launcher = ray_launcher.LocalRay(tmp_path, said.append)
    launcher._head = head = DeadHead()
    for _ in range(3):
        assert launcher.cluster() is None
    assert head.starts == 3
    assert said == ["the Ray head ended before it answered: OSError: no such port"] * 2
    with pytest.raises(Unreachable, match=r"does not start; see head\.log"):
        launcher.cluster()
    for _ in range(3600):  # an hour, a look each second
        now.s += 1
        try:
            launcher.cluster()
        except Unreachable:
            pass
    assert 60 <= head.starts <= 70
