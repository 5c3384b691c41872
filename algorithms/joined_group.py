"""A group of learners in processes of their own, over torch.distributed and shared memory."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from covey.algorithms.learner_group import GroupBroken
from covey.algorithms.shared_sum import STALL_S, SharedSum, room_for_sum
from covey.platform.environment import gloo_on_loopback
from covey.platform.jobs.process import identify
from covey.platform.runtime.interfaces import Arrays
from covey.platform.runtime.layout import Layout
from covey.platform.runtime.segment import Segment, SegmentHandle

START = timedelta(seconds=60)
"""All have met by then."""
STALL = timedelta(seconds=STALL_S)
NEVER = timedelta(days=365)
TOLD = 4
"""So many numbers can be told at once."""


class JoinedGroup:
    """See `Group`. What its processes say to each other goes over loopback."""

    def __init__(self, folder: Path, rank: int, count: int) -> None:
        """Meet the others in a folder of the group's own, which can go then."""
        self.rank, self.count = rank, count
        self._others = [other for other in range(count) if other != rank]
        gloo_on_loopback()
        with breaking():
            # Not in torch's TCP store, which listens on every interface.
            store = dist.FileStore(str(folder / "met"), count)  # type: ignore[attr-defined]
            dist.init_process_group("gloo", timeout=START, store=store, rank=rank, world_size=count)
        pids = torch.zeros(count, dtype=torch.int64)
        pids[rank] = os.getpid()
        self._meet(pids)
        self._processes = [identify(pid) for pid in pids.tolist()]
        self._sums: dict[int, SharedSum] = {}

    def _meet(self, *words: Tensor) -> None:
        """Return when all have come so far, with the sums of their words."""
        with breaking():
            for word in words or (torch.zeros(1),):
                dist.all_reduce(word)

    def rows(self, size: int) -> slice:
        first, last = (size * edge // self.count for edge in (self.rank, self.rank + 1))
        return slice(first, last)

    def sum(self, *tensors: Tensor) -> None:
        size = sum(one.numel() for one in tensors)
        if size not in self._sums:
            room = self.common(room_for_sum(self.count, size))
            self._sums[size] = SharedSum(room, self.rank, self._processes)
        parts = torch.split(self._sums[size].add(*tensors), [one.numel() for one in tensors])
        for one, part in zip(tensors, parts, strict=True):
            one.detach().copy_(part.view_as(one))

    def share(self, *tensors: Tensor) -> None:
        for one in tensors:
            self._share(one, STALL)

    def _share(self, tensor: Tensor, patience: timedelta) -> None:
        with breaking():
            if self.rank:
                finish([dist.irecv(tensor, 0)], patience)
            else:
                sent = tensor.contiguous()
                finish([dist.isend(sent, other) for other in self._others], patience)

    def common(self, arrays: Arrays) -> Arrays:
        layout, place = Layout.of(arrays), torch.zeros(4, dtype=torch.int64)
        if self.rank:
            self.share(place)
            memory = Segment.attach(SegmentHandle(*place.tolist()))
            views = layout.views(memory.buffer)
        else:
            memory = Segment.create("minibatch", layout.size_bytes)
            views, handle = layout.views(memory.buffer), memory.handle
            for name, array in arrays.items():
                views[name][...] = array
            place[:] = torch.tensor([handle.pid, handle.fd, handle.inode, handle.size_bytes])
            self.share(place)
        self._meet()  # until then the first one holds it for the others
        return views

    def tell(self, *numbers: float) -> None:
        told = torch.zeros(TOLD, dtype=torch.float64)
        told[: len(numbers)] = torch.tensor(numbers, dtype=torch.float64)
        self.share(told)

    def hear(self) -> list[float]:
        told = torch.zeros(TOLD, dtype=torch.float64)
        self._share(told, NEVER)
        numbers: list[float] = told.tolist()
        return numbers


def finish(works: Sequence[dist.Work | None], patience: timedelta) -> None:
    """Wait until these are done."""
    for work in works:
        assert work is not None  # all of us are of the group
        work.wait(patience)


@contextmanager
def breaking() -> Iterator[None]:
    """What torch says of a lost process, as GroupBroken."""
    try:
        yield
    except RuntimeError as error:
        raise GroupBroken(str(error)) from error
