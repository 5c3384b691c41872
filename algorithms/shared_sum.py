"""The sum of what each learner of a group has, through memory that all of them see. Over a socket
it takes several times as long: the thread that hears it waits for a core, and all are at work.
"""

import os
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from covey.algorithms.learner_group import GroupBroken
from covey.platform.jobs.process import ProcessIdentity, is_dead
from covey.platform.runtime.fence import fence
from covey.platform.runtime.interfaces import Arrays
from covey.platform.runtime.layout import integers

YIELDING_S = 0.0005
"""So long somebody who is nearly there is waited for without going to sleep."""
NAP_S = 0.00005
LOOK_S = 0.2
"""Between two looks at whether the others live."""
STALL_S = 60.0
"""Who is so much later than another with its part of a step hangs: their parts are of one size."""
LINE = 8
"""Words in a cache line: two learners write into no line in turn."""


def room_for_sum(count: int, size: int) -> Arrays:
    """For vectors of `size` numbers of `count` learners, to be laid into common memory. They take
    two places in turn: who is quick writes the next one while others still read.
    """
    return {
        "vectors": np.zeros((2, count, size), np.float32),
        "turns": np.zeros((count, LINE), np.int64),
    }


class SharedSum:
    """One learner's side; all of them call `add` in the same order."""

    def __init__(self, room: Arrays, rank: int, processes: Sequence[ProcessIdentity]) -> None:
        """`processes` are those of all ranks."""
        self._vectors = torch.from_numpy(room["vectors"])
        self._turns = [integers(line) for line in room["turns"]]
        self._rank, self._processes = rank, processes
        self._others = [other for other in range(len(processes)) if other != rank]

    def add(self, *parts: Tensor) -> Tensor:
        """The sum over all of them of their parts, flat and one after the other: the same bits for
        everyone. GroupBroken when one has died, or hangs.
        """
        turn = self._turns[self._rank][0] + 1
        vectors = self._vectors[turn % 2]
        torch.cat([one.detach().flatten().float() for one in parts], out=vectors[self._rank])
        fence()
        self._turns[self._rank][0] = turn
        for other in self._others:
            if self._turns[other][0] < turn:
                self._wait_for(other, turn)
        fence()
        total = vectors[0] + vectors[1]
        for vector in vectors[2:]:
            total += vector
        return total

    def _wait_for(self, other: int, turn: int) -> None:
        began = looked = time.monotonic()
        while self._turns[other][0] < turn:
            now = time.monotonic()
            if now - began < YIELDING_S:
                os.sched_yield()
                continue
            time.sleep(NAP_S)
            if now - looked < LOOK_S:
                continue
            looked = now
            if is_dead(self._processes[other]):
                raise GroupBroken(f"learner {other} has died")
            if now - began > STALL_S:
                raise GroupBroken(f"learner {other} has not come for {STALL_S:g} s")
