"""Sums over learners that share memory; in processes of their own in `test_learner_group.py`."""

import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from covey.algorithms import shared_sum
from covey.algorithms.learner_group import GroupBroken
from covey.algorithms.shared_sum import SharedSum, room_for_sum
from covey.platform.jobs.process import identify


def learners(count, size, processes=None):
    room = room_for_sum(count, size)
    processes = processes or [identify(os.getpid())] * count
    return [SharedSum(room, rank, processes) for rank in range(count)]


@pytest.mark.parametrize("count", [2, 3])
def test_all_have_the_same_sums_whoever_is_late(count):
    turns, late = 300, np.random.default_rng(0).random((count, 300)) < 0.02
    own = torch.from_numpy(np.random.default_rng(1).standard_normal((turns, count, 7), np.float32))

    def add(rank, one):
        found = []
        for turn in range(turns):
            if late[rank, turn]:
                time.sleep(0.003)
            mine = own[turn, rank]
            found.append(one.add(mine[:2].double(), mine[2:6].view(2, 2), mine[6]))
        return torch.stack(found)

    with ThreadPoolExecutor(count) as pool:
        running = [pool.submit(add, rank, one) for rank, one in enumerate(learners(count, 7))]
        first, *others = [one.result(60) for one in running]
    wanted = own[:, 0] + own[:, 1]
    for rank in range(2, count):
        wanted += own[:, rank]
    assert torch.equal(first, wanted)
    assert all(torch.equal(first, other) for other in others)


def test_one_that_dies_is_not_waited_for():
    other = subprocess.Popen(["sleep", "600"])
    first, _ = learners(2, 3, [identify(os.getpid()), identify(other.pid)])
    killing = threading.Timer(0.3, other.kill)
    killing.start()
    began = time.monotonic()
    with pytest.raises(GroupBroken, match="learner 1 has died"):
        first.add(torch.ones(3))
    assert 0.3 <= time.monotonic() - began < shared_sum.STALL_S / 2
    other.wait()


def test_one_that_hangs_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(shared_sum, "STALL_S", 0.5)
    first, _ = learners(2, 3)
    with pytest.raises(GroupBroken, match=r"learner 1 has not come for 0\.5 s"):
        first.add(torch.ones(3))
