"""Run a peer-to-peer job."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import networkx as nx  # type: ignore[import-untyped]
import torch

from covey.federation.data import missing_data
from covey.federation.p2p.batched import Batched
from covey.federation.p2p.built_in import BuiltInPeers
from covey.federation.p2p.mixing import second_eigenvalue
from covey.federation.p2p.rounds import Schedule
from covey.federation.p2p.section import PeerSection
from covey.federation.p2p.task import Task
from covey.federation.partition_report import report_partition
from covey.federation.partition_table import table_of
from covey.federation.section import BUILT_IN_APPS
from covey.platform.errors import UserError
from covey.platform.runs.run import Checkpoint, Run
from covey.platform.runtime.memory import keep_freed_memory

MOST_FOR_GAP = 1000
"""Peers of a graph whose eigenvalues are computed: a second or two."""
MOST_FOR_DIAMETER = 2_000_000
"""Peers times links of a graph whose diameter is looked for."""


def run_job(run: Run) -> Mapping[str, float]:
    """Run the job's peers up to its stop. Returns the last round's metrics."""
    section: PeerSection = run.job.section
    checkpoint = run.restore()
    with threads(max(1, int(run.job.resources.cpus))):
        if section.app in BUILT_IN_APPS:
            return _run_built_in(run, section, checkpoint)
        return _run_folder(run, section, checkpoint)


def _run_built_in(
    run: Run, section: PeerSection, checkpoint: Checkpoint | None
) -> Mapping[str, float]:
    task = Task.of(run.job)
    if reason := missing_data(task.settings.data):
        raise UserError(reason)
    report_partition(run, table_of(task.settings, section.peers))
    schedule = Schedule(section, task.seed, task.sizes)
    if checkpoint is None:
        _report_graph(run, schedule)
    if section.engine == "grpc":
        from covey.federation.p2p.real_peers import RealPeers

        peers = RealPeers(run, task, schedule, checkpoint)
        peers.run()
        return peers.metrics
    engine = Batched(run, BuiltInPeers(task, range(section.peers)), schedule, checkpoint)
    engine.run()
    return engine.metrics


def _run_folder(
    run: Run, section: PeerSection, checkpoint: Checkpoint | None
) -> Mapping[str, float]:
    from covey.federation.p2p.app_rounds import AppRounds

    schedule = Schedule(section, run.job.seed, [1] * section.peers)
    if checkpoint is None:
        _report_graph(run, schedule)
    rounds = AppRounds(run, schedule, checkpoint)
    rounds.run()
    return rounds.metrics


def _report_graph(run: Run, schedule: Schedule) -> None:
    """Say what graph it is, and how fast averaging is on it."""
    graph = schedule.topology.whole()
    peers, edges = graph.number_of_nodes(), graph.number_of_edges()
    degrees = [degree for _, degree in (graph.in_degree if graph.is_directed() else graph.degree)]
    said = f"{run.job.section.topology.kind} of {peers:,} peers, {edges:,} links"
    said += f", {min(degrees)} to {max(degrees)} neighbours" if edges else ""
    connected = nx.is_strongly_connected if graph.is_directed() else nx.is_connected
    figures: dict[str, float] = {}
    if not connected(graph):
        said += ", not connected"
    elif peers * edges <= MOST_FOR_DIAMETER:
        figures["diameter"] = nx.diameter(graph)
        said += f", diameter {figures['diameter']}"
    if peers <= MOST_FOR_GAP:
        second = second_eigenvalue(schedule.matrix(graph))
        figures |= {"second_eigenvalue": second, "spectral_gap": 1 - second}
        said += f"; second eigenvalue {second:.5f}, spectral gap {1 - second:.3g}"
    run.event("topology", said, links=edges, **figures)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads inside."""
    keep_freed_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
