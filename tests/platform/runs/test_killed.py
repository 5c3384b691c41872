"""`kill -9` at random moments of a process that checkpoints without pause."""

import json
import os
import random
import signal
import time

import numpy as np

from covey.platform.runs.checkpoint import looks_whole
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.metrics import read_metrics
from covey.platform.runs.run import Run, live_writer

KILLS = 24


def test_a_killed_writer_loses_no_announced_checkpoint(folder: RunFolder, start_child) -> None:
    child = start_child("loop", folder.path)
    chance = random.Random(7)
    for number in range(KILLS):
        before = newest_step(folder)
        child.stdin.write("\n")
        child.stdin.flush()
        pid = int(child.stdout.readline())
        # Some are killed while they claim and restore, most while they write.
        while number % 5 > 0 and newest_step(folder) == before:
            time.sleep(0.001)
        time.sleep(0.1 * chance.random())
        os.kill(pid, signal.SIGKILL)
        assert child.stdout.readline() == "dead\n"
        check_folder(folder)
    assert folder.newest_checkpoint().step > KILLS
    run = Run.claim(folder.path)
    assert run.attempt > KILLS // 2  # some were killed before they could claim
    checkpoint = run.restore()
    names = {path.name for path in folder.checkpoints.iterdir()}
    assert not any(name.startswith(".") for name in names)
    assert folder.checkpoints.joinpath("latest").resolve() == checkpoint.path
    assert [line["step"] for line in read_metrics(folder.metrics)] == list(
        range(1, checkpoint.step + 1)
    )


def newest_step(folder: RunFolder) -> int:
    return max((int(path.name) for path in folder.checkpoints.glob("[0-9]" * 12)), default=0)


def check_folder(folder: RunFolder) -> None:
    assert live_writer(folder.path) is None
    announced = [0]
    if not folder.events.exists():
        return
    for line in folder.events.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            event = json.loads(line)
            announced += [event["step"]] if event["kind"] == "checkpoint" else []
            assert event["kind"] != "damaged-checkpoint"
    if announced == [0]:
        return
    checkpoint = folder.newest_checkpoint()
    assert checkpoint.step >= max(announced)
    weights = checkpoint.arrays("model.safetensors")["weights"]
    assert np.all(weights == checkpoint.step)
    assert looks_whole(folder.checkpoints / "latest")
