"""When the pictures of a run that goes on are drawn: `curves.png`, `clients.png` and `latents.png`,
which its end draws for the last time.
"""

import time
from collections.abc import Callable, Mapping

from covey.federation.section import FederatedSection
from covey.platform.runs.run import Run

PAUSE = 20.0
"""After they were drawn, this many times as long as that took until the next time."""


class LiveView:
    """Draws between two rounds, in the run's own process, every so often. Pictures that cannot be
    drawn are noted and not tried again.
    """

    def __init__(self, run: Run, clock: Callable[[], float] = time.monotonic) -> None:
        section: FederatedSection = run.job.section
        self._run = run
        self._clock = clock
        self._every_s = section.viewer.every_s
        self._due: float | None = None

    def begin(self) -> None:
        """Training begins: the first pictures are due after `every_s`."""
        self._due = None if self._every_s is None else self._clock() + self._every_s

    def look(self, tables: Callable[[], Mapping[str, bytes]]) -> None:
        """A round was reported and another one follows: draw if it is time, with the tables of
        which pictures are drawn as they are now.
        """
        if self._every_s is None or self._due is None or self._clock() < self._due:
            return
        began = self._clock()
        for name, content in tables().items():
            self._run.table(name, content)
        drawn = self._run.draw_pictures()
        now = self._clock()
        self._due = now + max(self._every_s, PAUSE * (now - began)) if drawn else None
