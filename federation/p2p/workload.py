"""Peer-to-peer learning as a workload. Cheap to import: torch and networkx wait for `run`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from covey.federation.p2p.section import PeerSection, resolve_section
from covey.platform.environment import threads_give_way
from covey.platform.errors import KeyProblem
from covey.platform.jobfile.model import JobFile, Section, StepUnit
from covey.platform.runs.panels import Lines, Panel
from covey.platform.runs.run import Run
from covey.platform.workload import Policy


class PeerWorkload:
    """Peers without a server; a step is a round: local steps, then the exchanges."""

    name: str = "peer-to-peer"
    section: type[Section] = PeerSection
    step_unit: StepUnit = "rounds"
    stop_metrics: frozenset[str] = frozenset({"accuracy"})
    may_change: frozenset[str] = frozenset({"peer-to-peer.viewer"})

    def resolve(self, job: JobFile, base: Path) -> JobFile:
        """The job with defaults and absolute paths; the first graph is drawn to check it."""
        section = resolve_section(job.section, job.seed, base)
        if job.deterministic and section.engine == "grpc":
            text = "grpc is not deterministic: who is late is left out; use batched"
            raise KeyProblem(("peer-to-peer", "engine"), text)
        return job.model_copy(update={"peer_to_peer": section})

    def run(self, run: Run) -> Mapping[str, float]:
        """Train until the run says stop; returns the last round's metrics."""
        threads_give_way()
        from covey.federation.p2p.job import run_job

        return run_job(run)

    def evaluate(self, run_dir: Path, episodes: int) -> Mapping[str, float]:
        """Accuracy of all peers of the newest checkpoint on the whole test set."""
        from covey.federation.p2p.trained import evaluate

        return evaluate(run_dir)

    def load_policy(self, run_dir: Path) -> Policy:
        """The classifier whose weights are the peers' mean."""
        from covey.federation.p2p.trained import load_classifier

        return load_classifier(run_dir)

    def headline(self, metrics: Mapping[str, float]) -> Sequence[str]:
        """The worst peer, disagreement, traffic."""
        from covey.federation.p2p.shown import headline

        return headline(metrics)

    def panels(self, job: JobFile, lines: Lines) -> Sequence[Panel]:
        """Accuracies before and after consensus, disagreement, losses, traffic."""
        from covey.federation.p2p.shown import panels

        return panels(job, lines)

    def pictures(self, run_dir: Path) -> Mapping[str, bytes]:
        """`graph.png`, once the peers were measured."""
        from covey.federation.p2p import graph_picture

        drawn = graph_picture.drawn_of(run_dir)
        return {graph_picture.NAME: drawn} if drawn else {}


WORKLOAD = PeerWorkload()
