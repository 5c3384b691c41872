"""The newest weights, from one learner to any number of readers, without locks.

Within one machine they lie in shared memory (or in plain memory, when learner and readers are one
process); from other nodes they are reached over a `relay`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from covey.platform.runtime import segment
from covey.platform.runtime.fence import fence
from covey.platform.runtime.fragment import Weights
from covey.platform.runtime.layout import Field, Layout, integers
from covey.platform.runtime.segment import Memory, MemoryHandle


class WeightsWriter(Protocol):
    """The learner's side: one process at a time. After its death another one may go on."""

    def publish(self, arrays: Mapping[str, NDArray[Any]]) -> int:
        """Make these the newest weights; their version. Readers never delay it.

        ValueError if they are not arrays like those the channel was made for.
        """


class WeightsReader(Protocol):
    """A sampler's, evaluator's or viewer's side."""

    @property
    def newest(self) -> int:
        """The version that `read` would give; -1 before the first. Costs next to nothing."""

    def read(self, newer_than: int = -1) -> Weights | None:
        """The newest weights, as copies that are the caller's own; None if there are none newer
        than that.
        """


@dataclass(frozen=True)
class WeightsHandle:
    """Opens a channel in another process, while the one that gave it holds it.

    That of a channel that is not shared opens it in the same process, and cannot be pickled.
    """

    layout: Layout
    memory: MemoryHandle

    def attach(self) -> "SharedWeights":
        """The channel. SegmentGone if it is no longer held."""
        return SharedWeights(self.layout, segment.attach(self.memory))


_NEWEST, _BEGUN = "newest", "begun"


class SharedWeights:
    """Both sides of a channel: two places that the versions take in turn.

    `begun` tells for each place which version was last begun there, `newest` which version was last
    finished. A reader copies the newest one out of its place and then asks whether a later one
    has been begun there meanwhile: only then may its copy be torn, and it starts again. A writer
    that dies half-way leaves `newest` and its place as they were, and its successor does the
    same version anew.
    """

    def __init__(self, layout: Layout, memory: Memory) -> None:
        views = _both(layout).views(memory.buffer)
        self._newest, self._begun = integers(views[_NEWEST]), integers(views[_BEGUN])
        self._layout, self._memory = layout, memory
        self._bytes = (views["even"], views["odd"])
        self._places = tuple(layout.views(place.data) for place in self._bytes)

    @classmethod
    def create(cls, template: Mapping[str, NDArray[Any]], shared: bool = True) -> Self:
        """A channel for arrays like these, with nothing in it yet."""
        layout = Layout.of(template)
        channel = cls(layout, segment.create("weights", _both(layout).size_bytes, shared))
        channel._newest[0] = channel._begun[0] = channel._begun[1] = -1
        return channel

    @classmethod
    def attach(cls, handle: WeightsHandle) -> "SharedWeights":
        """The same channel for one more user. SegmentGone if it is no longer held."""
        return handle.attach()

    @property
    def handle(self) -> WeightsHandle:
        """For others, good while this process holds the channel."""
        return WeightsHandle(self._layout, self._memory.handle)

    def publish(self, arrays: Mapping[str, NDArray[Any]]) -> int:
        version = self.newest + 1
        place = self._places[version % 2]
        check_alike(self._layout, arrays)
        self._begun[version % 2] = version
        fence()
        for name, view in place.items():
            view[...] = arrays[name]
        fence()
        self._newest[0] = version
        return version

    @property
    def newest(self) -> int:
        version: int = self._newest[0]
        return version

    def read(self, newer_than: int = -1) -> Weights | None:
        while True:
            version = self.newest
            if version <= newer_than or version < 0:
                return None
            fence()
            copy = self._bytes[version % 2].copy()
            fence()
            if self._begun[version % 2] == version:
                return Weights(version, self._layout.views(copy.data))

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()


def check_alike(layout: Layout, arrays: Mapping[str, NDArray[Any]]) -> None:
    """ValueError unless the arrays have the layout's names, shapes and dtypes."""
    wanted = [field.name for field in layout.fields]
    if len(arrays) != len(wanted) or any(name not in arrays for name in wanted):
        raise ValueError(f"arrays {sorted(arrays)} for a channel of {sorted(wanted)}")
    for field in layout.fields:
        array = arrays[field.name]
        if array.shape != field.shape or array.dtype.str != field.dtype:
            raise ValueError(
                f"{field.name} is {array.dtype} {array.shape}, not {field.dtype} {field.shape}"
            )


def _both(layout: Layout) -> Layout:
    """The words that tell which version is where, on lines of their own, and both places."""
    place = layout.size_bytes
    return Layout(
        (
            Field(_NEWEST, "i8", (1,)),
            Field(_BEGUN, "i8", (2,)),
            Field("even", "u1", (place,)),
            Field("odd", "u1", (place,)),
        )
    )
