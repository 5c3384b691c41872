"""What a run tells its readers while it goes on: metrics, TensorBoard points, events, log."""

import logging
import time
from collections.abc import Callable, Mapping

from covey.platform.runs.appender import Appender
from covey.platform.runs.events import encode_event
from covey.platform.runs.fence import Fence
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.metrics import encode_line, finite
from covey.platform.runs.scalars import encode_opening, encode_points, file_name

_log = logging.getLogger("covey.run")


class Journal:
    """The growing files of a run folder. A full disk never stops a run: lines wait in memory
    meanwhile.
    """

    def __init__(
        self, folder: RunFolder, fence: Fence, now: Callable[[], float] = time.time
    ) -> None:
        self._attempt = fence.attempt
        self._now = now
        self._metrics = Appender(folder.metrics, fence.held)
        self._events = Appender(folder.events, fence.held)
        self._text = Appender(folder.log, fence.held)
        self._scalars = Appender(folder.tensorboard / file_name(fence.attempt), fence.held)
        self._first_step: int | None = 0
        self._not_finite: set[str] = set()
        self._waiting = False

    def begin_at(self, step: int) -> None:
        """Say, before the first report, that points at `step` or later from earlier attempts are
        void.
        """
        self._first_step = step

    def report(self, step: int, wall_s: float, metrics: Mapping[str, float]) -> dict[str, float]:
        """Write one report; returns the numbers that were fit to be written."""
        kept, dropped = finite(metrics)
        line = encode_line(step, wall_s, kept)
        now = self._now()
        records = encode_points(now, step, kept)
        if self._first_step is not None:
            records = encode_opening(now, self._first_step) + records
            self._first_step = None
        refused = [self._metrics.append(line), self._scalars.append(records)]
        self._say_waiting(next((error for error in refused if error is not None), None))
        for name in set(dropped) - self._not_finite:
            self._not_finite.add(name)
            self.warn(
                "not-finite", f"{name} was not a finite number at step {step}: left out", step=step
            )
        return kept

    def event(self, kind: str, message: str, **fields: object) -> None:
        """Write one event. What a full disk refuses is written with a later event or report."""
        line, text = encode_event(self._now(), self._attempt, kind, message, fields)
        self._events.append(line)
        self._text.append(text)

    def warn(self, kind: str, message: str, **fields: object) -> None:
        """An event that whoever watches the process should see as well."""
        _log.warning("%s", message)
        self.event(kind, message, **fields)

    def flush(self) -> OSError | None:
        """Try once more to write what waits; returns why something still does."""
        files = (self._metrics, self._scalars, self._events, self._text)
        refused = [file.append(b"") for file in files if file.waiting]
        return next((error for error in refused if error is not None), None)

    def _say_waiting(self, error: OSError | None) -> None:
        """Once when lines begin to wait, once when all are written."""
        if error is not None and not self._waiting:
            self.warn(
                "waiting", f"metrics cannot be written ({error.strerror}): they wait in memory"
            )
        elif error is None and self._waiting:
            self.event("written", "metrics that waited in memory are written")
        self._waiting = error is not None
