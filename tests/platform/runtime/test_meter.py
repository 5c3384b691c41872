import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from covey.platform.runtime.gpu import GpuLoad, mean_percent
from covey.platform.runtime.meter import Meter, cpu_seconds


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_figures_are_of_the_time_since_the_last_read(clock: Clock) -> None:
    meter = Meter(clock)
    meter.count(samples=3000, ages=[0, 1], transfer_s=[0.01])
    meter.count(samples=1000, ages=[2], transfer_s=[0.02, 0.06], lost=100)
    meter.count(updates=8, frames=2048)
    clock.now += 4
    assert meter.read() == {
        "sampling_hz": 1000.0,
        "update_hz": 2.0,
        "update_frame_hz": 512.0,
        "weight_age": 1.0,
        "transfer_cycle_s": pytest.approx(0.03),
        "loss_fraction": 0.025,
    }
    meter.count(samples=10)
    clock.now += 6
    assert meter.whole() == {
        "sampling_hz": 401.0,
        "update_hz": 0.8,
        "update_frame_hz": 204.8,
        "weight_age": 1.0,
        "transfer_cycle_s": pytest.approx(0.03),
        "loss_fraction": 100 / 4010,
    }
    clock.now += 4
    assert meter.read() == {
        "sampling_hz": 1.0,
        "update_hz": 0.0,
        "update_frame_hz": 0.0,
        "loss_fraction": 0.0,
    }


def test_says_nothing_that_it_does_not_know(clock: Clock) -> None:
    meter = Meter(clock)
    assert meter.read() == {}, "no time has passed"
    clock.now += 1
    assert set(meter.read()) == {"sampling_hz", "update_hz", "update_frame_hz"}


def test_a_loss_of_earlier_samples_is_at_most_everything(clock: Clock) -> None:
    meter = Meter(clock)
    meter.count(samples=10, lost=500)
    clock.now += 1
    assert meter.read()["loss_fraction"] == 1.0


def test_cpu_of_processes_that_come_and_go(clock: Clock) -> None:
    used: dict[int, float | None] = {1: 100.0, 2: 5.0}
    meter = Meter(clock, cpu_seconds=used.get)
    clock.now += 10
    assert "cpu_percent" not in meter.read([1, 2]), "what they used before is not known"
    used.update({1: 108.0, 2: 7.0, 3: 50.0})
    clock.now += 10
    assert meter.read([1, 2, 3])["cpu_percent"] == 100.0
    used.update({1: None, 2: 1.0, 3: 54.0})  # 1 has ended, 2 is another process by now
    clock.now += 10
    assert meter.read([1, 2, 3])["cpu_percent"] == 40.0
    assert meter.whole()["cpu_percent"] == 70.0
    clock.now += 10
    assert "cpu_percent" not in meter.read()


def test_cpu_time_of_a_real_process_and_of_one_that_has_ended() -> None:
    before = cpu_seconds(os.getpid())
    assert before is not None
    mine = time.process_time()
    while time.process_time() < mine + 0.1:
        pass
    after = cpu_seconds(os.getpid())
    assert after is not None and after - before == pytest.approx(0.1, abs=0.05)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert cpu_seconds(ended.pid) is None


def test_gpu_use_goes_through_the_meter(clock: Clock) -> None:
    found: list[float | None] = [None, 37.5]
    meter = Meter(clock, gpu_percent=lambda: found.pop(0))
    assert "gpu_percent" not in meter.read()
    clock.now += 1
    assert meter.read()["gpu_percent"] == 37.5 == meter.whole()["gpu_percent"]


@pytest.mark.parametrize(
    ("answer", "percent"),
    [("30\n", 30.0), ("0\n100\n", 50.0), ("", None), ("[N/A]\n", None), ("Failed to\n", None)],
)
def test_reads_the_answer_for_every_gpu(answer: str, percent: float | None) -> None:
    assert mean_percent(answer) == percent


def test_asks_for_gpu_use_without_waiting(
    tmp_path: Path,
) -> None:
    command, go = tmp_path / "smi", tmp_path / "go"
    command.write_text(f'#!/bin/sh\nread line < "{go}"; echo $line; echo 20\n')
    command.chmod(0o755)
    os.mkfifo(go)
    load = GpuLoad(str(command), every_s=3600)
    assert load() is None, "asked, and not waited for"
    assert load() is None
    go.write_text("40\n")  # returns once somebody reads
    answer = None
    while answer is None:
        answer = load()
    assert answer == 30.0
    assert GpuLoad("no-such-command")() is None
