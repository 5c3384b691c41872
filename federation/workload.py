"""Federated training as a workload. Cheap to import: Flower and torch wait for `run`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from covey.federation.rounds_section import check_early_stop, check_round
from covey.federation.section import FederatedSection, resolve_section
from covey.platform.environment import threads_give_way
from covey.platform.jobfile.model import JobFile, Section, StepUnit
from covey.platform.kubernetes.pods import Manifest
from covey.platform.runs.panels import Lines, Panel
from covey.platform.runs.run import Run
from covey.platform.workload import Policy


class FederatedWorkload:
    """A Flower app on simulated clients; a step is a round."""

    name: str = "federated"
    section: type[Section] = FederatedSection
    step_unit: StepUnit = "rounds"
    stop_metrics: frozenset[str] = frozenset({"accuracy"})
    may_change: frozenset[str] = frozenset({"federated.viewer"})

    def resolve(self, job: JobFile, base: Path) -> JobFile:
        """The job with defaults and absolute paths; the app's code is not imported."""
        section = resolve_section(job.section, base)
        cohort = section.cohort or section.clients
        least = section.strategy.least(cohort) if section.strategy else 1
        check_round(section.round, section.faults, cohort, job.deterministic, least)
        check_early_stop(section.early_stop, job.deterministic)
        return job.model_copy(update={"federated": section})

    def run(self, run: Run) -> Mapping[str, float]:
        """Train until the run says stop; returns the last round's metrics."""
        threads_give_way()
        from covey.federation.job import run_job

        return run_job(run)

    def evaluate(self, run_dir: Path, episodes: int) -> Mapping[str, float]:
        """Accuracy and loss of the newest checkpoint on the test set; built-in apps only."""
        from covey.federation.trained import evaluate

        return evaluate(run_dir)

    def load_policy(self, run_dir: Path) -> Policy:
        """A built-in app's classifier; it acts by naming the most likely class."""
        from covey.federation.trained import load_classifier

        return load_classifier(run_dir)

    def headline(self, metrics: Mapping[str, float]) -> Sequence[str]:
        """Clients, traffic and epsilon."""
        from covey.federation.shown import headline

        return headline(metrics)

    def panels(self, job: JobFile, lines: Lines) -> Sequence[Panel]:
        """Accuracies by round and by traffic, losses, clients, times, privacy."""
        from covey.federation.shown import panels

        return panels(job, lines)

    def pictures(self, run_dir: Path) -> Mapping[str, bytes]:
        """`clients.png`, once there is a table of the clients' rounds, and `latents.png` once there
        is a generator.
        """
        from covey.federation import client_map, latent_picture

        drawn = {kind.NAME: kind.drawn_of(run_dir) for kind in (client_map, latent_picture)}
        return {name: picture for name, picture in drawn.items() if picture}

    def site_manifests(self, job: JobFile) -> Sequence[Manifest]:
        """A SuperLink, a SuperNode for each client, and the job."""
        from covey.federation.sites import manifests

        return manifests(job)


WORKLOAD = FederatedWorkload()
