"""Decides how large the minibatches of a job with `batch_size: auto` become; see `tuner.py`."""

from covey.algorithms.tuner import compared, rate

GAIN = 0.1
"""Twice the batch is kept if so many more transitions a second are learnt from."""
LOSS = 0.05
"""And if samplers, which wait for a learner that owes updates, lose no more than this."""


class BatchTuner:
    """Doubles from `start` on, up to `most`."""

    def __init__(self, start: int, most: int) -> None:
        self.best = self.running = start
        """The batch to be used in the end, and the one that is to be measured now."""
        self.settled = False
        self._most = most
        self._frames_hz = self._rate_hz = 0.0

    def take(self, rate_hz: float, updates_hz: float) -> str:
        """Take in what `running` gave, in environment steps and updates a second; what to tell of
        that.
        """
        frames_hz = updates_hz * self.running
        told = f"batch {self.running}: {frames_hz:,.0f} transitions/s learnt from"
        if self._frames_hz:
            told += f", {compared(frames_hz / self._frames_hz - 1)}, at {rate(rate_hz)}"
        if frames_hz > (1 + GAIN) * self._frames_hz and rate_hz >= (1 - LOSS) * self._rate_hz:
            kept = ": kept" if self._frames_hz else ""
            self.best, self._frames_hz = self.running, frames_hz
            self._rate_hz = max(self._rate_hz, rate_hz)
            if 2 * self.running <= self._most:
                self.running *= 2
                return f"{told}{kept}; trying {self.running}"
            self.settled = True
            return f"{told}{kept}; settled, more would be too many"
        fell = rate_hz < (1 - LOSS) * self._rate_hz
        why = f", {compared(rate_hz / self._rate_hz - 1)} than before" if fell else ""
        self.running, self.settled = self.best, True
        return f"{told}{why}: settled at {self.best}"
