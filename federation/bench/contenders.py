"""Who is measured, by name, and the command that each is."""

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from covey.algorithms.bench.peer import checkout, chosen_peers, peers_python
from covey.federation.apps.settings import run_config_of
from covey.federation.bench.metered import Metered, run_metered
from covey.federation.bench.reading import our_record
from covey.federation.bench.works import DATA, SEED, Work
from covey.federation.catalogue import DATA_SETS
from covey.platform.errors import UserError
from covey.platform.jobfile.model import JobFile

PEERS = {"flower": "Flower simulator", "pfl": "pfl", "fedjax": "FedJAX"}
OURS = {
    "cohort": "Covey cohort",
    "cohort-1": "Covey cohort, 1 core",
    "inline": "Covey inline",
    "actors": "Covey actors",
}
PLAIN = "plain torch loop"
HAND_WRITTEN = "hand-written, 1 core"
SCRIPTS = Path(__file__).parent / "peers"
LIMIT_S = 900.0


@dataclass(frozen=True)
class Contender:
    """Who is measured; `run` is one whole run, from the start of its process to the end."""

    key: str
    """`cohort`, `plain`, `flower` ..."""
    name: str
    run: Callable[[], Metered]


@dataclass(frozen=True)
class Setting:
    """What the runs of one work have in common. `opening` is the file of `opening.write_opening`;
    `scratch` a folder for run folders.
    """

    work: Work
    rounds: int
    cpus: int
    opening: Path
    scratch: Path

    def job(self, engine: str) -> JobFile:
        """The job that Covey runs, checked."""
        return self.work.parsed(engine, self.rounds, self.cpus)


def contenders_of(setting: Setting, peers: Sequence[str]) -> list[Contender]:
    """Ours, the two hand-written loops, and those of the peers that have such a model."""
    loops = {
        "plain": (PLAIN, [sys.executable, str(SCRIPTS / "plain_loop.py")]),
        "hand-written": (HAND_WRITTEN, [sys.executable, str(SCRIPTS / "hand_written.py")]),
    }
    commands = {**loops, **{peer: (PEERS[peer], command_of(peer)) for peer in peers}}
    return [
        *(Contender(key, name, partial(run_ours, setting, key)) for key, name in OURS.items()),
        *(
            Contender(key, name, partial(run_other, setting, name, command))
            for key, (name, command) in commands.items()
            if key not in setting.work.without
        ),
    ]


def command_of(peer: str) -> list[str]:
    """What runs it: Flower comes with Covey, the others have a Python of their own."""
    if peer == "flower":
        return [sys.executable, "-m", "covey.federation.bench.flower_simulator"]
    return [str(python_with(peer)), str(SCRIPTS / f"{peer}_rounds.py")]


def chosen_federated_peers(names: str) -> tuple[str, ...]:
    """See `chosen_peers`; UserError also for one that is not installed."""
    chosen = chosen_peers(names, PEERS)
    for peer in chosen:
        command_of(peer)
    return chosen


def python_with(peer: str) -> Path:
    """The peers' Python; UserError where it has no such package."""
    python = peers_python(checkout(), peer)
    if not any(python.parents[1].glob(f"lib/python*/site-packages/{peer}")):
        raise UserError(
            f"the peers' environment {python.parents[1]} has no {peer}, it is older than "
            f"deploy/bench-peers.lock: run `make bench-peers` in {checkout()}, or leave {peer} out "
            "of --against"
        )
    return python


def run_other(setting: Setting, name: str, command: Sequence[str]) -> Metered:
    """One run of a loop or a peer."""
    data, config = DATA_SETS[DATA], run_config_of(setting.job("inline"))
    settings = {
        "model": setting.work.app,
        "folder": str(data.folder),
        "mean": data.mean,
        "deviation": data.deviation,
        "start": str(setting.opening),
        "clients": setting.work.clients,
        "cpus": setting.cpus,
        "seed": SEED,
        "run_config": config,
        **{key: config[key] for key in ("epochs", "steps", "batch_size", "learning_rate")},
    }
    return run_metered(name, [*command, json.dumps(settings)], LIMIT_S)


def run_ours(setting: Setting, key: str) -> Metered:
    """One `covey run`, and what its run folder tells in the words of the others."""
    engine, _, cores = key.partition("-")
    cpus = int(cores) if cores else setting.cpus
    with tempfile.TemporaryDirectory(dir=setting.scratch) as folder:
        file, run_dir = Path(folder, "job.yaml"), Path(folder, "run")
        file.write_text(json.dumps(setting.work.job(engine, setting.rounds, cpus)))
        measured = run_metered(OURS[key], covey_run(file, run_dir), LIMIT_S)
        lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return replace(measured, record=our_record(measured.record, map(json.loads, lines)))


def covey_run(file: Path, run_dir: Path) -> list[str]:
    """`covey run`, which is what a user would type."""
    words = ["run", str(file), "--json", "--run-dir", str(run_dir)]
    return [sys.executable, "-m", "covey.platform.cli", *words]
