"""Whether a worker that does not answer is still there. A thread of its process gives signs, also
in the midst of a long update; that of a process that is stopped or frozen gives none.
"""

import os
import signal
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any

from covey.platform.runtime.crew import Crew, Worker, WorkerLost
from covey.platform.runtime.layout import Field, Layout, integers
from covey.platform.runtime.segment import Segment, SegmentHandle

SIGN_S = 1.0
SILENCE_S = 60.0
"""Who gives no sign for so long is killed: a machine that is too busy leaves a thread this much."""

LAYOUT = Layout((Field("words", "i8", (3,)),))
_SIGNS, _PID, _OVER = range(3)


class Pulse:
    """Of one worker on this machine, as whoever waits for it sees it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._memory = Segment.create("pulse", LAYOUT.size_bytes)
        self._words = integers(LAYOUT.views(self._memory.buffer)["words"])
        weakref.finalize(self, self._words.__setitem__, _OVER, 1)
        self._seen, self._silent_s, self._looked_s = 0, 0.0, time.monotonic()

    def spawn(self, crew: Crew, factory: Callable[..., object], *arguments: Any) -> Worker:
        """Start the worker around `factory(*arguments)`."""
        return crew.spawn(self._name, give_signs, self._memory.handle, factory, *arguments)

    def check(self) -> None:
        """Call now and then while the worker is waited for. WorkerLost, here and from now on, once
        it has given no sign for too long and has been killed.

        Only time in which this process itself was looking counts, and none before the first sign.
        """
        now_s, signs = time.monotonic(), self._words[_SIGNS]
        if signs != self._seen or not signs:
            self._seen, self._silent_s = signs, 0.0
        self._silent_s += min(now_s - self._looked_s, SIGN_S)
        self._looked_s = now_s
        if signs and self._silent_s > SILENCE_S:
            with suppress(ProcessLookupError):
                os.kill(self._words[_PID], signal.SIGKILL)
            raise WorkerLost(f"{self._name} gave no sign for {SILENCE_S:.0f} s and was killed")


def give_signs(memory: SegmentHandle, factory: Callable[..., object], *arguments: Any) -> object:
    """What the factory makes, in a process that gives signs from now on, while there is a `Pulse`
    to see them.
    """
    words = integers(LAYOUT.views(Segment.attach(memory).buffer)["words"])
    words[_PID] = os.getpid()
    Thread(target=_keep_giving, args=(words,), name="signs", daemon=True).start()
    return factory(*arguments)


def _keep_giving(words: "memoryview[int]") -> None:
    while not words[_OVER]:
        words[_SIGNS] += 1
        time.sleep(SIGN_S)
