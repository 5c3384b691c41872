"""The meters of a training run, from plain counters: what went through since they were last read.

meter = Meter(time.monotonic)
meter.count(samples=2048, ages=[1], transfer_s=[0.004])     # a fragment became trainable
meter.count(updates=8, frames=8 * 256)
run.report(step, {**metrics, **meter.read(pids)})

At the end `meter.whole()` gives the same figures over everything since the meter was made.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import psutil


def cpu_seconds(pid: int) -> float | None:
    """CPU time that a process has used, its threads included; None when there is none (left)."""
    with suppress(psutil.Error):
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    return None


class Meter:
    """Counts in any order, from one thread; `read` starts the next interval."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        cpu_seconds: Callable[[int], float | None] = cpu_seconds,
        gpu_percent: Callable[[], float | None] = lambda: None,
    ) -> None:
        """`clock` counts seconds; `gpu_percent` says how busy the GPUs are (`gpu.GpuLoad`)."""
        self._clock = clock
        self._cpu_seconds = cpu_seconds
        self._gpu_percent = gpu_percent
        self._cpu_s: Mapping[int, float] = {}
        self._whole, self._interval = _Counts(clock()), _Counts(clock())

    def count(
        self,
        samples: int = 0,
        updates: int = 0,
        frames: int = 0,
        ages: Iterable[float] = (),
        transfer_s: Iterable[float] = (),
        lost: int = 0,
    ) -> None:
        """Add what happened since the last call.

        `samples`: environment steps taken by samplers, `lost`: those of them that were overwritten
        before anybody could train on them. `updates`: of the learner's, on `frames` samples in all.
        `ages`: for each fragment, versions between the weights that acted and the newest.
        `transfer_s`: for each fragment, the age of its newest sample when it became trainable.
        """
        for counts in (self._whole, self._interval):
            counts.samples += samples
            counts.updates += updates
            counts.frames += frames
            counts.lost += lost
        for age in ages:
            self._whole.ages.add(age)
            self._interval.ages.add(age)
        for seconds in transfer_s:
            self._whole.transfers.add(seconds)
            self._interval.transfers.add(seconds)

    def read(self, pids: Iterable[int] = ()) -> dict[str, float]:
        """The figures of the interval since the last `read` (or since this was made).

        `cpu_percent` is of the processes `pids` together, 100 for one core; a process counts from
        the second time it is named on. What nothing is known about is left out.
        """
        now, interval = self._clock(), self._interval
        self._ask(pids, now - interval.began_s)
        self._interval = _Counts(now)
        return interval.figures(now)

    def whole(self) -> dict[str, float]:
        """The figures since this was made; CPU and GPU use as far as `read` asked for them."""
        return self._whole.figures(self._clock())

    def _ask(self, pids: Iterable[int], passed: float) -> None:
        """Note what processes and GPUs did for the last so many seconds."""
        before = self._cpu_s
        used = {pid: self._cpu_seconds(pid) for pid in pids}
        self._cpu_s = {pid: seconds for pid, seconds in used.items() if seconds is not None}
        # Less than before: another process has got the number.
        spent = [max(0.0, now - before[pid]) for pid, now in self._cpu_s.items() if pid in before]
        gpu = self._gpu_percent()
        for counts in (self._whole, self._interval):
            if spent and passed > 0:
                counts.cpu.add(100 * sum(spent) / passed, passed)
            if gpu is not None:
                counts.gpu.add(gpu, passed)


class _Mean:
    """The mean of numbers as they come, each with a weight; None before the first."""

    def __init__(self) -> None:
        self._sum = self._weights = 0.0

    def add(self, number: float, weight: float = 1.0) -> None:
        self._sum += number * weight
        self._weights += weight

    @property
    def value(self) -> float | None:
        return self._sum / self._weights if self._weights else None


@dataclass
class _Counts:
    """What went through since `began_s`."""

    began_s: float
    samples: int = 0
    updates: int = 0
    frames: int = 0
    lost: int = 0
    ages: _Mean = field(default_factory=_Mean)
    transfers: _Mean = field(default_factory=_Mean)
    cpu: _Mean = field(default_factory=_Mean)
    gpu: _Mean = field(default_factory=_Mean)

    def figures(self, now_s: float) -> dict[str, float]:
        passed = now_s - self.began_s
        found = {
            "transfer_cycle_s": self.transfers.value,
            "weight_age": self.ages.value,
            "cpu_percent": self.cpu.value,
            "gpu_percent": self.gpu.value,
        }
        if passed > 0:
            found["sampling_hz"] = self.samples / passed
            found["update_frame_hz"] = self.frames / passed
            found["update_hz"] = self.updates / passed
        if self.samples > 0:
            # What is lost now may have been sampled before this interval.
            found["loss_fraction"] = min(1.0, self.lost / self.samples)
        return {name: value for name, value in found.items() if value is not None}
