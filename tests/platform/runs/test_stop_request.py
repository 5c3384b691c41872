"""A request to stop reaches its attempt through the run folder, and no other attempt."""

import threading
from pathlib import Path

import pytest

from covey.platform.runs.stop_request import FILE, ask, asked_at_s, heeded


def test_a_request_is_for_one_attempt(tmp_path: Path) -> None:
    assert asked_at_s(tmp_path, 1) is None
    with heeded(tmp_path, 1, lambda: None):
        assert asked_at_s(tmp_path, 1) is None
    ask(tmp_path, 2)
    assert asked_at_s(tmp_path, 1) is None
    asked_s = asked_at_s(tmp_path, 2)
    assert asked_s is not None and asked_s > 1.7e9


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "3", '{"attempt": 1}', '{"attempt": 1, "at_s": "x"}']
)
def test_half_a_request_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert asked_at_s(tmp_path, 1) is None


def test_the_attempt_hears_of_it_also_when_it_was_asked_before_it_began(tmp_path: Path) -> None:
    for begins_later in (False, True):
        number = 1 + begins_later
        heard = threading.Event()
        if begins_later:
            ask(tmp_path, number)
        with heeded(tmp_path, number, heard.set):
            if not begins_later:
                ask(tmp_path, number)
            assert heard.wait(60)
    with heeded(tmp_path, 3, heard.clear):
        pass
    assert heard.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "stop request"]


def test_a_folder_that_cannot_be_written_disturbs_nobody(tmp_path: Path) -> None:
    with heeded(tmp_path / "missing", 1, lambda: None):
        pass
    with pytest.raises(OSError):
        ask(tmp_path / "missing", 1)
