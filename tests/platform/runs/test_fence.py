"""Two real processes at one run folder."""

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

from covey.platform.errors import Superseded, UserError
from covey.platform.runs.checkpoint import folder_name
from covey.platform.runs.fence import Fence, newest_attempt
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.run import Run, live_writer


def ask(child) -> list[str]:
    child.stdin.write("\n")
    child.stdin.flush()
    return child.stdout.readline().split()


def content(folder: RunFolder) -> dict[str, bytes]:
    files = [path for path in folder.path.rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in files}


def test_a_superseded_process_can_write_nothing(folder: RunFolder, start_child) -> None:
    child = start_child("hold", folder.path)
    assert child.stdout.readline() == "claimed\n"
    assert ask(child) == ["written"] * 3
    # Its checkpoint is written on a thread: only then is the folder at rest.
    wait_for(lambda: folder.checkpoints.joinpath("latest").is_symlink())
    wait_for(lambda: b"checkpoint:" in folder.log.read_bytes())
    assert live_writer(folder.path) == child.pid

    run = Run.claim(folder.path)
    assert run.attempt == 2
    assert f"process {child.pid}" in folder.log.read_text()
    before = content(folder)
    assert ask(child) == ["superseded"] * 4
    assert content(folder) == before
    run.report(5, {"loss": 0.5})
    run.finish("stopped", {})


class Superseding(dict[str, np.ndarray]):
    """Arrays of a checkpoint; while they are read, another attempt claims the run folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(weights=np.ones(10, np.float32))
        self.path = path

    def items(self):
        Fence.claim(self.path, None)
        return super().items()


def test_an_attempt_superseded_while_it_writes_leaves_nothing(
    folder: RunFolder, run: Run, write_steps
) -> None:
    write_steps(run, 1)
    run._writer.start(2, 1.0, {"a.json": b"{}", "model.safetensors": Superseding(folder.path)})
    with pytest.raises(Superseded):
        run._writer.wait()
    assert run.attempt + 1 == newest_attempt(folder.path)
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == [folder_name(1), "latest"]


def test_a_superseded_attempt_does_not_begin_to_write(folder: RunFolder, run: Run) -> None:
    Run.claim(folder.path)
    run._writer.start(2, 1.0, {"a.json": b"{}"})
    with pytest.raises(Superseded):
        run._writer.wait()
    assert list(folder.checkpoints.iterdir()) == []


def test_a_dead_writer_is_no_live_one(folder: RunFolder, start_child) -> None:
    assert live_writer(folder.path) is None
    child = start_child("hold", folder.path)
    child.stdout.readline()
    assert live_writer(folder.path) == child.pid
    child.kill()
    child.wait()
    assert live_writer(folder.path) is None


def test_a_finished_run_is_no_live_writer(folder: RunFolder, run: Run) -> None:
    assert live_writer(folder.path) == os.getpid()
    run.finish("succeeded", {})
    assert live_writer(folder.path) is None


def test_a_forked_child_does_not_keep_a_run_alive(folder: RunFolder, run: Run) -> None:
    """A vectorised environment's worker may outlive the process that trains."""
    forked = multiprocessing.get_context("fork")
    begun, event = forked.Event(), forked.Event()
    worker = forked.Process(target=lambda: (begun.set(), event.wait()))
    worker.start()
    begun.wait()  # a child lets go of what it must not keep before it does anything else
    run.finish("succeeded", {})
    assert live_writer(folder.path) is None
    event.set()
    worker.join()


def test_an_older_or_equal_claim_is_refused(folder: RunFolder) -> None:
    Run.claim(folder.path, attempt=3)
    for attempt in (1, 3):
        with pytest.raises(Superseded, match="attempt 3"):
            Run.claim(folder.path, attempt=attempt)
    assert Run.claim(folder.path).attempt == 4


def test_a_damaged_claim_is_the_users_to_mend(folder: RunFolder) -> None:
    (folder.path / "attempt.json").write_text('{"att')
    with pytest.raises(UserError, match=r"attempt\.json is damaged"):
        Run.claim(folder.path)


def wait_for(condition) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
