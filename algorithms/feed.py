"""The learner's end of all samplers' streams."""

import time
from collections.abc import Callable, Sequence

from covey.platform.runtime.fragment import Fragment
from covey.platform.runtime.stream import Stream

_PATIENCE_S = 1e-4


class Feed:
    """Fragments of all samplers, in sampler order.

    `samplers` are those of this process, one a stream: nobody else makes them work, so asking for a
    fragment does. Without them others write the streams, and asking means waiting. `archives` hold
    rows of samplers that are no more.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        archives: Sequence[Stream] = (),
        samplers: Sequence[Callable[[], bool]] = (),
    ) -> None:
        self.streams = streams
        self.archives = archives
        self._samplers = samplers
        self._asked = list(streams)
        self._next = 0
        """Where `gather` begins to look."""

    def hold(self) -> None:
        """Let nobody write more than was taken until `allow` says so, not even who joins later."""
        for stream in self.streams:
            stream.permit(stream.blocks_taken)

    def allow(self, blocks: int) -> None:
        """Let every sampler that is there write so many blocks beyond those taken. What one wrote
        before it left is not for the next one's turn.
        """
        here = [stream for stream in self.streams if not stream.absent]
        for stream in here:
            if stream not in self._asked:
                while stream.take() is not None:
                    stream.release()
            stream.permit(stream.blocks_taken + blocks)
        self._asked = here

    def wait(self, patience_s: float) -> list[Fragment] | None:
        """The next block of every stream that was asked for one; None if they are not all there in
        time.

        Call `release` when done with them.
        """
        deadline_s = time.monotonic() + patience_s
        for sample in self._samplers:
            sample()
        while any(stream.blocks_written == stream.blocks_taken for stream in self._asked):
            if time.monotonic() > deadline_s:
                return None
            time.sleep(_PATIENCE_S)
        return [self._take(stream) for stream in self._asked]

    def gather(self, blocks: int | None, patience_s: float) -> list[Fragment] | None:
        """`blocks` blocks, whichever are there first, or as many as there are samplers; None if
        they are not there in time.

        Call `release` when done with them.
        """
        deadline_s = time.monotonic() + patience_s
        wanted = blocks or max(1, sum(not stream.absent for stream in self.streams))
        while sum(stream.blocks_written - stream.blocks_taken for stream in self.streams) < wanted:
            for sample in self._samplers:
                sample()
            if time.monotonic() > deadline_s:
                return None
            if not self._samplers:
                time.sleep(_PATIENCE_S)
        found: list[Fragment] = []
        while len(found) < wanted:  # one of each in turn: nobody is left to wait for long
            stream = self.streams[self._next]
            self._next = (self._next + 1) % len(self.streams)
            if stream.blocks_written > stream.blocks_taken:
                found.append(self._take(stream))
        return found

    def poll(self) -> list[Fragment]:
        """All blocks that are there, each stream's in order; to be counted and released at once."""
        for sample in self._samplers:
            sample()
        found = []
        for stream in self.streams:
            while stream.blocks_written > stream.blocks_taken:
                found.append(self._take(stream))
        return found

    @staticmethod
    def _take(stream: Stream) -> Fragment:
        fragment = stream.take()
        assert fragment is not None
        return fragment

    def release(self) -> None:
        """Give the blocks taken back to their writers."""
        for stream in self.streams:
            stream.release()
