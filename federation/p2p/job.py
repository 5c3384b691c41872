"""Run a peer-to-peer job."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import networkx as nx  # type: ignore[import-untyped]
import torch

from covey.federation.p2p.batched import Batched
from covey.federation.p2p.learners import Learners
from covey.federation.p2p.local_trainers import schedule_of, task_of, with_learners
from covey.federation.p2p.mixing import second_eigenvalue
from covey.federation.p2p.rounds import Schedule
from covey.federation.p2p.section import PeerSection
from covey.federation.partition_report import report_partition
from covey.federation.partition_table import table_of
from covey.platform.runs.run import Run
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
        task = task_of(run.job)
        if task is not None:
            report_partition(run, table_of(task.settings, section.peers))
        schedule = schedule_of(run.job, task)
        if checkpoint is None:
            _report_graph(run, schedule)
        if section.engine == "grpc":
            from covey.federation.p2p.real_peers import RealPeers

            peers = RealPeers(run, schedule, checkpoint)
            peers.run()
            return peers.metrics

        def rounds(learners: Learners) -> Mapping[str, float]:
            engine = Batched(run, learners, schedule, checkpoint)
            engine.run()
            return engine.metrics

        return with_learners(run, task, range(section.peers), rounds)


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
