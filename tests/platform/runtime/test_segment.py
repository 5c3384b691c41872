"""Memory shared through /proc, and where arrays lie in it."""

import os
import pickle

import numpy as np
import pytest

from covey.platform.errors import UserError
from covey.platform.runtime.layout import Field, Layout, integers
from covey.platform.runtime.segment import (
    PrivateMemory,
    Segment,
    SegmentGone,
    SegmentHandle,
    create,
)


def test_fields_lie_on_cache_lines_and_do_not_overlap():
    fields = (Field("a", "u1", (3,)), Field("b", "f8", (2, 5)), Field("none", "i4", (0,)))
    layout = Layout((*fields, Field("c", "?", (65,)), Field("d", "i8", ())))
    assert layout.offsets == (0, 64, 192, 192, 320)
    assert layout.size_bytes == 328
    views = layout.views(PrivateMemory(layout.size_bytes).buffer)
    for value, (name, view) in enumerate(views.items(), 1):
        view[...] = value if name != "c" else True
    assert [np.unique(view).tolist() for view in views.values()] == [[1], [2], [], [True], [5]]
    assert views["b"].shape == (2, 5)
    assert views["b"].ctypes.data % 64 == 0
    with pytest.raises(ValueError, match="328 bytes wanted, 327 there"):
        layout.views(memoryview(bytearray(327)))


def test_layout_of_arrays_travels():
    arrays = {"x": np.zeros((2, 3), np.float32), "y": np.zeros((), np.int64)}
    layout = Layout.of(arrays)
    assert pickle.loads(pickle.dumps(layout)) == layout
    views = layout.views(memoryview(bytearray(layout.size_bytes)))
    assert {n: (v.shape, v.dtype) for n, v in views.items()} == {
        n: (a.shape, a.dtype) for n, a in arrays.items()
    }
    assert Layout(()).size_bytes == 1


def test_items_of_an_array():
    array = np.zeros(4, np.int64)
    integers(array)[2] = -(2**63)
    assert array.tolist() == [0, 0, -(2**63), 0]


def test_attached_memory_is_the_same():
    segment = Segment.create("test", 10_000)
    other = Segment.attach(pickle.loads(pickle.dumps(segment.handle)))
    array = np.frombuffer(segment.buffer, np.uint8)
    assert not array.any()
    array[9_999] = 7
    view = Layout((Field("all", "u1", (10_000,)),)).views(segment.buffer)["all"]
    del array
    segment.close()
    assert view[9_999] == 7  # an array keeps the memory
    assert other.buffer[9_999] == 7
    again = Segment.attach(other.handle)  # any process that holds it can pass it on
    assert again.buffer[9_999] == 7


def test_closing_frees_memory_and_file_numbers():
    before = os.listdir("/proc/self/fd")
    segment = Segment.create("test-close", 4096)
    other = Segment.attach(segment.handle)
    assert maps("test-close")
    for one in (segment, other):
        one.close()
        one.close()
    assert os.listdir("/proc/self/fd") == before
    assert not maps("test-close")
    Segment.create("test-forgotten", 4096)
    assert os.listdir("/proc/self/fd") == before


def test_pages_take_room_once_they_are_written():
    segment = Segment.create("test", 2**30)
    segment.buffer[2**29] = 1
    assert os.fstat(segment.handle.fd).st_blocks * 512 < 2**22


def test_a_segment_keeps_its_size():
    segment = Segment.create("test", 4096)
    for size_bytes in (0, 8192):
        with pytest.raises(PermissionError):
            os.ftruncate(segment.handle.fd, size_bytes)


def test_what_is_gone_is_said_to_be():
    segment = Segment.create("test", 4096)
    handle = segment.handle
    segment.close()
    reading, writing = os.pipe()  # may get the segment's number
    other = Segment.create("another", 4096)  # or this
    try:
        numbers = {handle.fd, reading, writing, other.handle.fd}
        for fd in numbers:
            with pytest.raises(SegmentGone, match=rf"process {os.getpid()} no longer holds"):
                Segment.attach(SegmentHandle(handle.pid, fd, handle.inode, 4096))
        with pytest.raises(SegmentGone):
            Segment.attach(SegmentHandle(handle.pid, other.handle.fd, other.handle.inode, 8192))
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("shared", [True, False])
def test_more_than_the_machine_has(shared):
    with pytest.raises(UserError, match=r"replay: 1048576.0 GiB of memory wanted, but"):
        create("replay", 2**50, shared=shared)


def test_private_memory_stays_in_its_process():
    memory = PrivateMemory(100)
    assert memory.handle is memory
    with pytest.raises(TypeError):
        pickle.dumps(memory.handle)


def maps(name: str) -> list[str]:
    """This process's mappings of a segment."""
    with open("/proc/self/maps") as lines:
        return [line for line in lines if f"memfd:covey-{name}" in line]
