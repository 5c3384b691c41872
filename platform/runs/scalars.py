"""TensorBoard event files: records of a length, a protobuf `Event`, and a checksum of each.

Made by hand from tensorboard's own message types: its writer class takes 0.4 s to import,
swallows a full disk in a thread of its own, and knows nothing of the fence.
"""

import struct
from collections.abc import Mapping


def encode_opening(now: float, first_step: int) -> bytes:
    """The first records of an attempt's file. Readers then drop every earlier point at
    `first_step` or later.
    """
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]

    version = Event(wall_time=now, file_version="brain.Event:2")
    start = Event(wall_time=now, step=first_step, session_log=SessionLog(status=SessionLog.START))
    return _record(version.SerializeToString()) + _record(start.SerializeToString())


def encode_points(now: float, step: int, metrics: Mapping[str, float]) -> bytes:
    """One record with all metrics of a step. `now` is in seconds since 1970."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

    values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
    event = Event(wall_time=now, step=step, summary=Summary(value=values))
    return _record(event.SerializeToString())


def file_name(attempt: int) -> str:
    """Readers take files in the order of their names: attempts in theirs, whatever the clock
    said.
    """
    return f"events.out.tfevents.{attempt:010d}.covey"


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    """CRC-32C, rotated and shifted as the format asks, so that checksums of checksums stay
    sound.
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_TABLE = _table()
