"""The local head is tried again for as long as jobs wait."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from covey.platform.jobs import ray_launcher
from covey.platform.jobs.launcher import Unreachable
from covey.platform.jobs.ray_head import HeadRecord


class DeadHead:
    """Starts, and is dead at the next look."""

    log = Path("head.log")
    kept_logs = Path("ended")
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
    ended = "the Ray head ended before it answered: OSError: no such port (Ray's logs: ended)"
    assert said == [ended] * 2
    with pytest.raises(Unreachable, match=r"does not start; see head\.log"):
        launcher.cluster()
    for _ in range(3600):  # an hour, a look each second
        now.s += 1
        try:
            launcher.cluster()
        except Unreachable:
            pass
    assert 60 <= head.starts <= 70


class SilentHead:
    """Lives, and never answers: nothing listens on its port."""

    def __init__(self, launched_s: float) -> None:
        self.ended = 0
        self.born = HeadRecord("head-1", "http://127.0.0.1:9", launched_s)

    def record(self) -> HeadRecord:
        return self.born

    def stop(self) -> None:
        self.ended += 1


@pytest.mark.parametrize("answers", [False, True])
@pytest.mark.parametrize(
    ("starts", "limit_s"), [(1, ray_launcher.START_LIMIT_S), (0, ray_launcher.SILENCE_LIMIT_S)]
)
def test_a_head_that_does_not_answer_or_has_no_node_is_ended(
    tmp_path, monkeypatch, starts, limit_s, answers
):
    """One that has only started is given more time than one that has answered before."""
    now = SimpleNamespace(s=1000.0)
    monkeypatch.setattr(ray_launcher, "time", SimpleNamespace(time=lambda: now.s))
    said = []
    launcher = ray_launcher.LocalRay(tmp_path, said.append)
    launcher._head, launcher._starts = (head := SilentHead(now.s)), starts
    if answers:
        no_node = SimpleNamespace(capacity=lambda: None)
        monkeypatch.setattr(launcher, "_connect", lambda: no_node)
    for waited_s, ended in ((limit_s - 1, 0), (limit_s + 1, 1)):
        now.s = 1000.0 + waited_s
        assert launcher.cluster() is None
        assert head.ended == ended
    assert said == [f"the Ray head has not answered for {limit_s:g} s: ending it"]
