"""A learner's state on its way to the driver: in shared memory, which the learner holds until it
writes the next one.
"""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.algorithms.learner import LearnerState
from covey.platform.runtime import segment
from covey.platform.runtime.interfaces import Record
from covey.platform.runtime.layout import Field, Layout
from covey.platform.runtime.segment import Segment, SegmentHandle

PARTS = ("model", "optimizer", "normalizer")
_HEADER = "header"


class StateMemory:
    """The learner's end: the state written last."""

    def __init__(self) -> None:
        self._memory: Segment | None = None

    def write(self, state: LearnerState) -> Record:
        """Where `read_state` finds a state, as plain JSON values."""
        arrays: dict[str, NDArray[Any]] = {
            f"{part}/{name}": array
            for part in PARTS
            for name, array in getattr(state, part).items()
        }
        fields = Layout.of(arrays).fields
        header = json.dumps({"fields": [asdict(one) for one in fields], "record": state.record})
        arrays[_HEADER] = np.frombuffer(header.encode(), np.uint8)
        layout = laid_out(len(arrays[_HEADER]), fields)
        memory = Segment.create("state", layout.size_bytes)
        for name, view in layout.views(memory.buffer).items():
            view[...] = arrays[name]
        self.close()
        self._memory = memory
        return {"memory": asdict(memory.handle), "header_bytes": len(arrays[_HEADER])}

    def close(self) -> None:
        """Let go of it."""
        if self._memory is not None:
            self._memory.close()


def read_state(place: Record) -> LearnerState:
    """Copies of what lies there. SegmentGone if whoever wrote it has died."""
    memory = segment.attach(SegmentHandle(**place["memory"]))
    length = place["header_bytes"]
    header = json.loads(bytes(memory.buffer[:length]))
    fields = (Field(one["name"], one["dtype"], tuple(one["shape"])) for one in header["fields"])
    views = laid_out(length, tuple(fields)).views(memory.buffer)
    parts: dict[str, dict[str, NDArray[Any]]] = {part: {} for part in PARTS}
    for path, view in views.items():
        part, _, name = path.partition("/")
        if name:
            parts[part][name] = view.copy()
    del views, view
    memory.close()
    return LearnerState(**parts, record=header["record"])


def laid_out(header_bytes: int, fields: tuple[Field, ...]) -> Layout:
    """The header tells the rest, so it comes first."""
    return Layout((Field(_HEADER, "|u1", (header_bytes,)), *fields))
