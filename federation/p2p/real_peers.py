"""Engine `grpc`: a Ray actor for each of a job's peers, in one placement group.

Each has its own run folder, RUN_DIR/peers/peer-K, with its own checkpoints: a job that is started
again starts them again, and they go on by themselves. What they tell is gathered here.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.federation.p2p.batched import PROGRESS
from covey.federation.p2p.job_peer import JobPeer
from covey.federation.p2p.learners import MODEL, OWN, vectors_of
from covey.federation.p2p.measuring import disagreement, spread
from covey.federation.p2p.messages import SAMPLES
from covey.federation.p2p.peer_folder import make_folder
from covey.federation.p2p.peer_mail import name_of
from covey.federation.p2p.peers_table import PEERS, PeersTable
from covey.federation.p2p.rounds import Schedule
from covey.platform.driver import AttemptEnd
from covey.platform.errors import UserError
from covey.platform.exit_status import ExitStatus
from covey.platform.jobfile.load import dump_job_file
from covey.platform.jobfile.model import JobFile, Stop
from covey.platform.runs.durable import write_whole
from covey.platform.runs.run import Checkpoint, Part, Run
from covey.platform.runtime.even_crew import EvenCrew
from covey.platform.runtime.ray_cluster import StartInterrupted

LOOK_S = 0.2
ENDLESS = 10**9
"""Rounds of peers that are stopped from here."""
SPREAD = ("accuracy", "accuracy_local")
MEANS = (
    "train_loss",
    "bytes_per_peer",
    "messages_per_peer",
    "heard",
    "disagreement_heard",
    "exchange_s",
    "round_s",
)


class RealPeers:
    """The actors of one attempt. `metrics` are the newest round's."""

    def __init__(self, run: Run, schedule: Schedule, checkpoint: Checkpoint | None) -> None:
        self.metrics: dict[str, float] = {}
        self._reported = -1
        if checkpoint is not None:
            self._reported = checkpoint.step
            self.metrics = json.loads(checkpoint.read(PROGRESS))["metrics"]
        self._run, self._schedule = run, schedule
        self._names = [name_of(number) for number in range(run.job.section.peers)]
        self._peers: dict[str, JobPeer] = {}
        self._failed: dict[str, AttemptEnd] = {}
        self._table = PeersTable()

    def run(self) -> None:
        """Start all, tell of their rounds, gather their models. A peer that fails is an event, and
        the others go on. When all do: UserError if by a mistake, else RuntimeError.
        """
        job = self._run.job
        try:
            crew = EvenCrew(job.resources, len(self._names), self._run.ray_address, calls=2)
        except StartInterrupted:
            self._run.event("stop", self._run.stop_reason(max(0, self._reported), {}) or "")
            return
        try:
            self._start(crew)
            self._follow()
        finally:
            crew.close()
        self._gather()

    def _start(self, crew: EvenCrew) -> None:
        home = self._run.path / "peers"
        home.mkdir(exist_ok=True)
        write_whole(home / "job.yaml", dump_job_file(_of_peers(self._run.job)).encode())
        for number, name in enumerate(self._names):
            self._peers[name] = JobPeer(crew, number, home / name)
        addresses = _reachable(crew.fetch([peer.address for peer in self._peers.values()]))
        # Keys are made anew for each attempt: another process may have the ports of the last.
        keys = home / f"attempt-{self._run.attempt}"
        wait_s = 60 + 5 * len(self._names)  # they may share a machine's cores as they begin

        def settings(name: str) -> Mapping[str, object]:
            return {"run_dir": f"../../{name}", "job": "../../job.yaml", "wait_s": wait_s}

        make_folder(keys, addresses, settings)
        self._run.started()
        for name, peer in self._peers.items():
            peer.begin(keys / name / "peer.yaml", self._run.ray_address)
        self._run.event("peers", f"{len(self._names)} peers are started; {keys} has their files")

    def _follow(self) -> None:
        """Until all have ended."""
        reason = None
        while running := [peer for peer in self._peers.values() if peer.end is None]:
            time.sleep(LOOK_S)
            self._tell_of_the_failed()
            for peer in self._peers.values():
                peer.read()
            last = min((peer.round for peer in running), default=-1)
            while self._reported + 1 < last and reason is None:
                self._report(self._reported + 1)
                reason = self._run.stop_reason(self._reported, self.metrics)
            if reason is None and self._run.stop_requested:
                reason = self._run.stop_reason(max(0, self._reported), self.metrics)
            if reason is not None:
                self._stop(running)
                return
        self._tell_of_the_failed()

    def _stop(self, running: list[JobPeer]) -> None:
        until = time.monotonic() + self._run.job.grace_s / 2
        for peer in running:
            peer.request_stop()
        while any(peer.end is None for peer in running) and time.monotonic() < until:
            time.sleep(LOOK_S)

    def _tell_of_the_failed(self) -> None:
        for name, peer in self._peers.items():
            if name not in self._failed and (end := peer.end) and end.error:
                self._failed[name] = end
                self._run.event("peer_failed", f"{name}: {end.error}", peer=name, round=peer.round)
        if len(self._failed) == len(self._names):
            name, end = next(iter(self._failed.items()))
            mistake = end.exit_status == ExitStatus.USER_MISTAKE  # it is not tried again
            text = f"all peers have failed, {name}: {end.error}"
            raise UserError(text) if mistake else RuntimeError(text)

    def _report(self, round_: int, more: Mapping[str, float] | None = None) -> None:
        """Of those that have been through the round."""
        told = [peer.figures.get(round_, {}) for peer in self._peers.values()]
        figures = {"peers": float(sum(map(bool, told)))}
        for name in (*SPREAD, *MEANS):
            values = np.array([one[name] for one in told if name in one])
            if len(values):
                figures |= spread(values, name) if name in SPREAD else {name: values.mean()}
        self._reported, self.metrics = round_, {**figures, **(more or {})}
        self._run.report(round_, self.metrics)
        found = np.array([one.get("accuracy", np.nan) for one in told])
        if np.isfinite(found).all():
            whole = self._schedule.topology.whole(max(1, round_))
            sizes = [int(one[SAMPLES]) for one in told]
            self._table.see(round_, "", found, sizes, whole)

    def _gather(self) -> None:
        """What is left to tell, and the peers' models as one checkpoint, as `batched` writes it."""
        for peer in self._peers.values():
            peer.read()
        there = [peer for name, peer in self._peers.items() if name not in self._failed]
        kept = {peer: one for peer in there if (one := peer.newest_checkpoint())}
        if not kept:
            return  # stopped before it had begun
        # Told to stop, they end within a round of each other.
        last = max(self._reported, min(peer.round for peer in kept))
        while self._reported + 1 < last:
            self._report(self._reported + 1)
        arrays = _side_by_side([one.arrays(MODEL) for one in kept.values()])
        params = vectors_of(arrays, {name: array.shape[1:] for name, array in arrays.items()})
        if self._reported < last:
            self._report(last, {"disagreement": disagreement(params)})
        if self._run.reason is None:
            self._run.stop_reason(last, self.metrics)
        parts: dict[str, Part] = {MODEL: arrays}
        parts[PROGRESS] = json.dumps({"metrics": self.metrics}).encode()
        if all(OWN in one for one in kept.values()):
            parts[OWN] = _side_by_side([one.arrays(OWN) for one in kept.values()])
        self._run.checkpoint(last, parts)
        if self._table.seen:
            self._run.table(PEERS, self._table.encode())


def _side_by_side(each: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Of peers' arrays [1, ...] those of all, [n, ...]."""
    return {name: np.concatenate([arrays[name] for arrays in each]) for name in each[0]}


def _of_peers(job: JobFile) -> JobFile:
    """The job that each peer is given: it ends at the last round, or when it is told to."""
    cpus = max(1, int(job.resources.cpus) // job.section.peers)
    return job.model_copy(
        update={
            "stop": Stop(rounds=job.stop.rounds or ENDLESS),
            "resources": job.resources.model_copy(update={"cpus": cpus}),
        }
    )


def _reachable(places: Sequence[tuple[str, int]]) -> list[str]:
    """HOST:PORT of each. Those that are all on one node have no need of its network."""
    alone = len({host for host, _ in places}) == 1
    return [f"{'127.0.0.1' if alone else host}:{port}" for host, port in places]
