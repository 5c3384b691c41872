"""Runs that are killed without warning end with the very bytes of an undisturbed run."""

import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

from covey.federation.rounds_section import depends_on_clock
from covey.platform.driver import run_attempt

ROUNDS = 12
TRIES = 10
"""Runs of which kills are to meet one: on a busy machine one may be over before it is killed."""
HOLD_TIMES = {"manifest.json", "progress.json"}
FAULTS = {
    "dropout": 0.1,
    "stragglers": {"fraction": 0.5, "delay_s": 2.0, "distribution": "exponential"},
}
JOBS = {
    "built-in": (
        "mlp",
        {
            "cohort": 3,
            "local": {"batch_size": 8},
            "data": {"name": "digits", "held_out": 0.2},
            "evaluate_clients": "all",
        },
    ),
    "fedbuff": (
        "mlp",
        {
            "cohort": 3,
            "local": {"batch_size": 8},
            "strategy": {"name": "fedbuff", "concurrency": 5},
            "faults": FAULTS,
            "sampling": {"policy": "available"},
            "round": {"virtual_timeout_s": 9.0, "attempts": 50},
        },
    ),
    "faults": (
        "memory",
        {
            "cohort": 4,
            "faults": FAULTS,
            "round": {"virtual_timeout_s": 4.0, "min_replies": 2, "attempts": 50},
            "sampling": {"policy": "round-robin"},
            "early_stop": {"metric": "norm", "patience": 11},
        },
    ),
    "weighted": ("memory", {"cohort": 3, "sampling": {"policy": "weighted"}}),
    "fedavg": ("memory", {"run_config": {"strategy": "fedavg"}}),
    "fedadam": ("memory", {"run_config": {"strategy": "fedadam"}}),
    "fedavgm": ("memory", {"run_config": {"strategy": "fedavgm"}}),
    "private": ("memory", {"run_config": {"strategy": "private"}}),
    "fedadam by name": ("logistic", {"cohort": 3, "strategy": {"name": "fedadam"}}),
    "feddistill": (
        "mlp",
        {"cohort": 3, "local": {"batch_size": 8}, "strategy": {"name": "feddistill"}},
    ),
    "feddistill+ of heads": (
        "strided-cnn",
        {
            "cohort": 3,
            "local": {"batch_size": 8},
            "strategy": {"name": "feddistill+", "share": "head"},
        },
    ),
    "fedgen": (
        "mlp",
        {
            "cohort": 3,
            "local": {"batch_size": 8},
            "strategy": {"name": "fedgen", "hidden": 16, "generator_steps": 3},
        },
    ),
    "fedgen around fedbuff": (
        "mlp",
        {
            "cohort": 3,
            "local": {"batch_size": 8},
            "strategy": {
                "name": "fedgen",
                "hidden": 16,
                "generator_steps": 3,
                "average": {"name": "fedbuff", "concurrency": 5},
            },
            "faults": FAULTS,
            "sampling": {"policy": "available"},
            "round": {"virtual_timeout_s": 9.0, "attempts": 50},
        },
    ),
    "fedensemble": (
        "mlp",
        {
            "cohort": 3,
            "local": {"batch_size": 8},
            "data": {"name": "digits", "held_out": 0.2},
            "strategy": {"name": "fedensemble"},
        },
    ),
    "feddf": (
        "cnn",
        {
            "cohort": 3,
            "local": {"steps": 2, "batch_size": 8},
            "data": {"name": "digits", "public": 0.1},
            "strategy": {"name": "feddf", "steps": 3, "average": {"name": "fedadam"}},
        },
    ),
    "scaffold": ("logistic", {"cohort": 3, "strategy": {"name": "scaffold"}}),
    "dp-fedavg": ("logistic", {"cohort": 3, "differential_privacy": {"clipping": "fixed"}}),
    "dp-fedavg, adaptive": (
        "logistic",
        {
            "cohort": 3,
            "differential_privacy": {"clipping": "adaptive", "count_deviation": 1.0},
        },
    ),
    "top-k": ("logistic", {"cohort": 3, "compression": {"kind": "top-k"}}),
}


@pytest.fixture(scope="module")
def processes():
    """Starts processes quickly: they are forked from one that has imported all that is heavy."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "covey.federation.job",
            "covey.platform.driver",
            "dp_accounting.rdp",
            "matplotlib.pyplot",
            "sklearn.datasets",
            "tensorboard.compat.proto.summary_pb2",
        ]
    )
    return context


def rounds_done(path: Path) -> int:
    file = path / "metrics.jsonl"
    return file.read_bytes().count(b"\n") - 1 if file.exists() else -1


def interrupt(process, path: Path, number: int, after_rounds: int, pause_s: float) -> None:
    """Send a signal once so many rounds are done, and a moment later."""
    deadline = time.monotonic() + 300
    while process.is_alive() and rounds_done(path) < after_rounds:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(pause_s)
    if process.is_alive():
        os.kill(process.pid, number)
    process.join()


def kill_and_resume(processes, path: Path, times: int, chance: random.Random) -> int:
    """Kill a run several times, then let it end; returns how many kills met it running."""
    met, done = 0, 0
    for _ in range(times):
        process = processes.Process(target=run_attempt, args=(path,))
        process.start()
        done = min(ROUNDS - 2, max(done, rounds_done(path)) + chance.randint(1, 4))
        interrupt(process, path, signal.SIGKILL, done, chance.random() * 0.03)
        met += process.exitcode != 0
    assert run_attempt(path).state == "succeeded"
    return met


@pytest.mark.parametrize("name", JOBS)
def test_kill_9_at_random_moments_changes_nothing(name, train, create, processes):
    app, section = JOBS[name]
    checkpoint = {"every_rounds": 2, "keep": 2}
    whole = train(app, rounds=ROUNDS, checkpoint=checkpoint, federated=section)
    chance = random.Random(name)
    for _ in range(TRIES):
        path = create(app, rounds=ROUNDS, checkpoint=checkpoint, federated=section)
        met = kill_and_resume(processes, path, 2, chance)
        compare(whole, path)
        if met:
            return
    raise AssertionError("no kill met a run")


def test_a_stock_app_folder_resumes(train, create, processes):
    job = {"clients": 3, "rounds": ROUNDS, "checkpoint": {"every_rounds": 3}}
    whole = train("quickstart", **job)
    chance = random.Random(1)
    for _ in range(TRIES):
        path = create("quickstart", **job)
        met = kill_and_resume(processes, path, 2, chance)
        compare(whole, path)
        if met:
            return
    raise AssertionError("no kill met a run")


def test_sigterm_writes_a_checkpoint_and_changes_nothing(train, create, processes):
    job = {"rounds": 300, "checkpoint": {"every_rounds": 1000}}
    whole = train("memory", **job)
    path = create("memory", **job)
    process = processes.Process(target=run_attempt, args=(path,))
    process.start()
    interrupt(process, path, signal.SIGTERM, after_rounds=5, pause_s=0)
    stopped = json.loads((path / "result.json").read_text())
    assert stopped["state"] == "stopped"
    assert 5 <= int(os.readlink(path / "checkpoints" / "latest")) < 300
    assert run_attempt(path).state == "succeeded"
    compare(whole, path)


def compare(whole, path: Path) -> None:
    """The final checkpoint's parts are equal, and the figures of every round but their times."""
    latest = Path("checkpoints", "latest")
    for part in {part.name for part in (whole.path / latest).iterdir()} - HOLD_TIMES:
        assert (path / latest / part).read_bytes() == (whole.path / latest / part).read_bytes(), (
            part
        )
    tables = [(run / "client_rounds.json").read_bytes() for run in (path, whole.path)]
    assert tables[0] == tables[1]
    figures = type(whole)(path).metrics
    assert [timeless(line) for line in figures] == [timeless(line) for line in whole.metrics]


def timeless(line: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in line.items() if not depends_on_clock(name)}
