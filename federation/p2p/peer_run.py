"""Run one real peer: open its wire, find its neighbours, begin where they are, train, leave."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from covey.federation.app_folder import code_digest, read_app_folder
from covey.federation.p2p.engine_section import why_not_real
from covey.federation.p2p.job import threads
from covey.federation.p2p.learners import Learners
from covey.federation.p2p.local_trainers import schedule_of, task_of, with_learners
from covey.federation.p2p.peer_config import PeerConfig, load_peer_config
from covey.federation.p2p.peer_files import PeerList, read_model
from covey.federation.p2p.peer_mail import (
    WEIGHED,
    Mail,
    around,
    form_with_a_number,
    name_of,
    number_of,
)
from covey.federation.p2p.peer_rounds import PeerRounds, agreed_by
from covey.federation.p2p.peer_start import FIRST, ROUND, agree
from covey.federation.p2p.rounds import Schedule
from covey.federation.p2p.section import NAME, PeerSection
from covey.federation.p2p.wire_exchange import VECTOR, Exchange
from covey.federation.p2p.wire_header import Form
from covey.federation.p2p.wire_talk import Facts
from covey.federation.section import BUILT_IN_APPS
from covey.platform.errors import UserError
from covey.platform.jobfile.load import load_job_file
from covey.platform.jobfile.model import JobFile
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.run import Run, live_writer


def run_peer(run: Run, config: PeerConfig) -> Mapping[str, float]:
    """Train the job's peer of that name up to the job's stop. Returns the last round's metrics."""
    number = number_of(config.peer)
    with threads(max(1, int(run.job.resources.cpus))):
        task = task_of(run.job)
        checkpoint = run.restore()
        schedule = schedule_of(run.job, task)

        def learn(learners: Learners) -> Mapping[str, float]:
            rounds = PeerRounds(run, number, learners, schedule, checkpoint)
            if run.stop_reason(rounds.round, rounds.metrics) is None:
                _connected(_Peer(run, config, number, schedule), rounds)
            return rounds.metrics

        return with_learners(run, task, [number], learn)


def open_peer(
    config: Path, job: Path | None = None, supersede: bool = False
) -> tuple[PeerConfig, JobFile]:
    """The peer's file, and the job in the file that is given or that the peer's names; the peer's
    run folder holds it then. UserError for what cannot be, before anything is written; also where
    the peer still runs, unless this one is to `supersede` it.
    """
    loaded = load_peer_config(config)
    if job is None and loaded.job is None:
        raise UserError(f"{config}: names no job; write job: FILE there, or give --job FILE")
    checked = load_job_file(job or Path(loaded.job or ""))
    _check_peer(checked, loaded)
    _open_run(Path(loaded.run_dir), checked, supersede)
    return loaded, checked


def _check_peer(job: JobFile, config: PeerConfig) -> None:
    if job.workload != NAME:
        raise UserError(f"the job's workload is {job.workload}, a peer needs {NAME}")
    section: PeerSection = job.section
    if why := why_not_real(section):
        raise UserError(why)
    listed = read_model(Path(config.peers), PeerList).peers
    wanted = [name_of(number) for number in range(section.peers)]
    if missing := [name for name in wanted if name not in listed]:
        raise UserError(f"{config.peers}: the job's {missing[0]} is not listed")
    if config.peer not in wanted:
        raise UserError(f"{config.peer} is none of the job's peers, {wanted[0]} to {wanted[-1]}")


def _open_run(path: Path, job: JobFile, supersede: bool) -> None:
    """Make the peer's run folder, or give the one that is there the job with its newest stop."""
    if not path.is_dir() or not any(path.iterdir()):
        RunFolder.create(path, job)
        return
    folder = RunFolder.open(path)
    if not folder.is_a_runs:
        raise UserError(f"{path} is no peer's run folder; name another as run_dir")
    if not supersede and (writer := live_writer(path)):
        raise UserError(f"{path} is being written by process {writer}: that peer still runs")
    if folder.whole_checkpoint() and digest(folder.job()) != digest(job):
        raise UserError(f"{path} holds the checkpoints of another job; name another as run_dir")
    folder.replace_job(job)


def digest(job: JobFile) -> str:
    """Of all that a job's peers must have in common but the code of an app folder; paths may differ
    from machine to machine.
    """
    mine = {"engine", "viewer", "evaluate_every", "evaluate_samples"}
    if job.section.app not in BUILT_IN_APPS:
        mine |= {"app", "data"}
    common = job.section.model_dump(mode="json", exclude=mine)
    for key in {"data", "topology"} - mine:
        common[key].pop("path")
    text = json.dumps([job.seed, common], sort_keys=True)
    return sha256(text.encode()).hexdigest()[:16]


def facts_of(job: JobFile) -> Facts:
    """What a peer tells of itself: neighbours must have the same."""
    app = job.section.app
    code = {} if app in BUILT_IN_APPS else {"app": code_digest(read_app_folder(Path(app)))}
    return {"job": digest(job), **code}


class _Peer:
    """Who begins, and where."""

    def __init__(self, run: Run, config: PeerConfig, number: int, schedule: Schedule) -> None:
        self.run, self.config, self.number, self.schedule = run, config, number, schedule
        self.graph = schedule.topology.whole()
        self.neighbours = [name_of(peer) for peer in sorted(around(self.graph, number))]


def _connected(peer: _Peer, rounds: PeerRounds) -> None:
    """The peer's rounds, with its wire open."""
    vector, config = rounds.params, peer.config
    forms = {
        VECTOR: Form(str(vector.dtype), vector.shape[1:]),
        FIRST: form_with_a_number(vector),
        WEIGHED: form_with_a_number(vector),
    }
    with Exchange(config, forms, peer.run.event, facts_of(peer.run.job)) as exchange:
        mail = Mail(exchange, peer.number, config.timeout_s)
        _train(peer, rounds, exchange, mail)


def _train(peer: _Peer, rounds: PeerRounds, exchange: Exchange, mail: Mail) -> None:
    section: PeerSection = peer.run.job.section
    agrees = rounds.round == 0 and section.start == "max-norm"
    first = ROUND if agrees else rounds.round + 1
    if rounds.round:
        exchange.publish(first, rounds.params[0])  # others may have to begin with it
    exchange.start(first)
    try:
        answers = exchange.greet(peer.neighbours, peer.config.wait_s, agreed_by(section))
        _check_jobs(peer.run.job, exchange)
        if peer.neighbours and not answers and not rounds.round:
            raise UserError(_alone(peer))
        peer.run.started()
        # Neighbours that have not found all of theirs yet begin as much later.
        mail.timeout_s += peer.config.wait_s
        if exchange.round > first:
            farthest = sorted(answers, key=lambda name: -answers[name].round)
            rounds.catch_up(exchange, exchange.round, farthest, peer.config.timeout_s)
        elif agrees:
            best, exchanges = agree(mail, rounds.params, peer.graph, peer.number)
            owner = int(best["owner"][0, 0])
            text = f"begins with the weights of {name_of(owner)} after {exchanges} exchanges"
            peer.run.event("synchronised", text, exchanges=exchanges, owner=owner)
            rounds.begin_with(best["vector"])
        exchange.publish(rounds.round + 1, rounds.params[0])
        rounds.run(exchange, mail, peer.config.timeout_s)
    finally:
        exchange.leave()


def _check_jobs(job: JobFile, exchange: Exchange) -> None:
    """UserError where a neighbour that has answered, or said hello, has another job."""
    mine = facts_of(job)
    for name, neighbour in exchange.neighbours().items():
        theirs = neighbour.facts or mine
        if theirs.get("job") != mine["job"]:
            raise UserError(f"{name} runs another job than this; give all peers the same job file")
        if theirs.get("app") != mine.get("app"):
            raise UserError(f"{name} has other code than this; give all peers the same app folder")


def _alone(peer: _Peer) -> str:
    listed = read_model(Path(peer.config.peers), PeerList).peers
    places = [f"{name} at {listed[name].address}" for name in peer.neighbours]
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return (
        f"no neighbour has answered within {peer.config.wait_s:g} s (wait_s): "
        f"{', '.join(places[:3])}{more}; start them, or see whether {peer.config.peers} and a "
        "firewall let them be reached"
    )
