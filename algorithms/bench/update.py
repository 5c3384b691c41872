"""Compares how fast SAC updates from a full replay buffer, and how fast the buffer is sampled."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

from covey.algorithms.bench.machine import machine
from covey.algorithms.bench.peer import PEERS, python_of, script
from covey.algorithms.bench.report import OURS, Report
from covey.algorithms.bench.rounds import Contender, in_turn
from covey.algorithms.bench.served import Served
from covey.platform.cli.output import figure, note

SHAPES = {"HalfCheetah-v5": (17, 6), "Pendulum-v1": (3, 1)}
"""Widths of observations and actions; the first is the default."""
BATCHES = (256, 8192)
HIDDEN = [256, 256]
CAPACITY = 100_000
THREADS = 2
PEAK = "matrix products"
ALONE = "learner alone"
NOTE = (
    "SAC, nets 2x256, a full replay buffer, 2 threads: median, lowest and highest; of peak: its "
    "networks' products as a share of what the machine can; the last column is Covey's rate over "
    "that one's"
)


def compare(
    environments: Sequence[str], peers: Sequence[str], rounds: int, seconds: float
) -> Report:
    """Measure each environment's shapes."""
    settings = {"rounds": rounds, "seconds": seconds, "capacity": CAPACITY}
    report = Report("update", NOTE, machine(), settings)
    for env in environments:
        with ExitStack() as running:
            measure(env, start(SHAPES[env], peers, running), report, rounds, seconds)
    return report


def start(shapes: tuple[int, int], peers: Sequence[str], running: ExitStack) -> dict[str, Served]:
    """Everybody, ready: ours, the matrix products, and the peers."""
    settings: dict[str, Any] = {
        "seen": shapes[0],
        "acted": shapes[1],
        "hidden": HIDDEN,
        "capacity": CAPACITY,
        "threads": THREADS,
        "batches": BATCHES,
    }
    commands = {
        OURS: [sys.executable, "-m", "covey.algorithms.bench.ours_update"],
        PEAK: [sys.executable, script("matrix_peak")],
        **{PEERS[peer]: [str(python_of(peer)), script(f"{peer}_update")] for peer in peers},
    }
    processes = {}
    for name, command in commands.items():
        note(f"starting {name}")
        process = processes[name] = Served(name, command, settings)
        running.callback(process.close)
        process.wait_ready()
    return processes


def measure(
    env: str, processes: dict[str, Served], report: Report, rounds: int, seconds: float
) -> None:
    """Every subject in turn, each with all its contenders in turn."""
    for batch in BATCHES:
        found = in_turn(update_contenders(batch, processes), rounds, seconds)
        peak = median(found[PEAK])
        report.add(
            f"{env}, batch {batch:,}",
            "updates/s",
            {name: rates for name, rates in found.items() if name != PEAK},
            {
                name: median(rates) * batch * flop_a_frame(*SHAPES[env]) / 1e9 / peak
                for name, rates in found.items()
                if name != PEAK
            },
        )
        report.add(f"{env}, batch {batch:,}", "GFLOP/s", {PEAK: found[PEAK]})
        note(f"{env}, batch {batch:,}: {PEAK} {figure(peak)} GFLOP/s")
    found = in_turn(replay_contenders(processes), rounds, seconds)
    report.add(f"{env}, replay batches of 256", "batches/s", found)


def update_contenders(batch: int, processes: dict[str, Served]) -> list[Contender]:
    """Whole updates, RLlib's learner alone too, and the matrix products."""
    what = f"batch {batch}"
    contenders = [
        Contender(name, [process], "peak" if name == PEAK else what)
        for name, process in processes.items()
    ]
    contenders += [
        Contender(f"{name}, {ALONE}", [process], f"{what}, {ALONE}")
        for name, process in processes.items()
        if f"{what}, {ALONE}" in process.measures
    ]
    return contenders


def replay_contenders(processes: dict[str, Served]) -> list[Contender]:
    """Every kind of sampling that anybody offers; ours, uniform, comes under our name alone."""
    return [
        Contender(name if (name, kind) == (OURS, "uniform") else f"{name}, {kind}", [process], kind)
        for name, process in processes.items()
        for kind in ("uniform", "prioritised")
        if kind in process.measures
    ]


def flop_a_frame(seen: int, acted: int) -> int:
    """Floating-point operations of the matrix products that one frame of an update of SAC needs.

    With A and C the multiplications of one pass of the actor and of a critic, a pass back to the
    inputs costs as much again, and one to the weights too. Targets: A + 2C. Critics: 2C, and 4C
    back. Actor: A and 2C; 2C back to the action, and 2A back.
    """
    first, second = HIDDEN
    actor = seen * first + first * second + second * 2 * acted
    critic = (seen + acted) * first + first * second + second
    return 2 * (4 * actor + 12 * critic)
