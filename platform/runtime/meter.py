"""The meters of a training run, from plain counters: what went through since they were last read.

meter = Meter(time.monotonic)
meter.count(samples=2048, ages=[1], transfer_s=[0.004])     # a fragment became trainable
meter.count(updates=8, frames=8 * 256)
run.report(step, {**metrics, **meter.read(pids)})

A second meter that is read only at the end gives the same figures over a whole run.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

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
        self._begin()

    def _begin(self) -> None:
        self._began = self._clock()
        self._samples = self._updates = self._frames = self._lost = 0
        self._ages = _Mean()
        self._transfers = _Mean()

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
        self._samples += samples
        self._updates += updates
        self._frames += frames
        self._lost += lost
        self._ages.add(ages)
        self._transfers.add(transfer_s)

    def read(self, pids: Iterable[int] = ()) -> dict[str, float]:
        """The figures of the interval since the last `read` (or since this was made).

        `cpu_percent` is of the processes `pids` together, 100 for one core; a process counts from
        the second time it is named on. What nothing is known about is left out.
        """
        passed = self._clock() - self._began
        figures: dict[str, float | None] = {
            "transfer_cycle_s": self._transfers.value,
            "weight_age": self._ages.value,
            "cpu_percent": self._cpu_percent(pids, passed),
            "gpu_percent": self._gpu_percent(),
        }
        if passed > 0:
            figures["sampling_hz"] = self._samples / passed
            figures["update_frame_hz"] = self._frames / passed
            figures["update_hz"] = self._updates / passed
        if self._samples > 0:
            # What is lost now may have been sampled before this interval.
            figures["loss_fraction"] = min(1.0, self._lost / self._samples)
        self._begin()
        return {name: value for name, value in figures.items() if value is not None}

    def _cpu_percent(self, pids: Iterable[int], passed: float) -> float | None:
        before = self._cpu_s
        used = {pid: self._cpu_seconds(pid) for pid in pids}
        self._cpu_s = {pid: seconds for pid, seconds in used.items() if seconds is not None}
        # Less than before: another process has got the number.
        spent = [max(0.0, now - before[pid]) for pid, now in self._cpu_s.items() if pid in before]
        return 100 * sum(spent) / passed if spent and passed > 0 else None


class _Mean:
    """The mean of numbers as they come; None before the first."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._count = 0

    def add(self, numbers: Iterable[float]) -> None:
        for number in numbers:
            self._sum += number
            self._count += 1

    @property
    def value(self) -> float | None:
        return self._sum / self._count if self._count else None
