"""A real Ray head: found again, watched, ended, and never more than one."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from covey.platform.environment import prepare_libraries
from covey.platform.jobs.process import members
from covey.platform.jobs.ray_head import HeadRecord, RayHead


@pytest.fixture
def head(tmp_path: Path) -> Iterator[RayHead]:
    opened = RayHead(tmp_path, lambda text: None)
    yield opened
    opened.stop()
    if opened._child is not None:
        opened._child.wait(300)


def test_no_head_is_not_found(head: RayHead, tmp_path: Path):
    assert head.record() is None
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "head.json").write_text('{"head_id": "cut sh')
    assert head.record() is None


def test_somebody_elses_process_is_no_head(head: RayHead, tmp_path: Path):
    (tmp_path / "ray").mkdir()
    head._write(HeadRecord("head-1", "http://127.0.0.1:1", time.time() - 100))
    assert head.record() is None  # it never said which process it is
    (tmp_path / "ray" / "head.pid").write_text(str(os.getpid()))
    assert head.record() is None  # its number was given to another process


def test_what_a_head_said_last(head: RayHead):
    assert head.last_words() == ""
    head.log.parent.mkdir()
    head.log.write_text("starting" * 1000 + "\nOSError: no such port  \n\n")
    assert head.last_words() == "OSError: no such port"


@pytest.mark.ray
@pytest.mark.usefixtures("traps")
def test_a_head_is_found_again_and_what_a_killed_one_left_is_ended(head: RayHead, tmp_path: Path):
    prepare_libraries()
    record = head.start()
    assert RayHead(tmp_path).start() == record == RayHead(tmp_path).record()
    group = head._pid()
    assert group > 1
    while not any("gcs_server" in process.name() for process in members(group)):
        time.sleep(0.05)
    while not (head._temp_dir() / "session_latest" / "logs" / "gcs_server.out").exists():
        time.sleep(0.05)
    os.kill(group, signal.SIGKILL)
    while head.record() is not None:
        time.sleep(0.05)
    RayHead(tmp_path, lambda text: None).stop()
    assert (head.kept_logs / "gcs_server.out").exists()
    assert not members(group)
