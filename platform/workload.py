"""What the platform asks of a workload, and how it finds one: entry points `covey.workloads`."""

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from covey.platform.jobfile.model import JobFile, Section, StepUnit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from covey.platform.kubernetes.pods import Manifest
    from covey.platform.runs.panels import Lines, Panel
    from covey.platform.runs.run import Run


class Policy(Protocol):
    """A trained policy, ready to act in any script."""

    def act(self, observations: "NDArray[np.generic]") -> "NDArray[np.generic]":
        """The most likely actions for raw observations [B, ...]; a single one [...] gives one."""


class Workload(Protocol):
    """A kind of job. Importing its module is cheap: torch, Ray and Flower wait for `run`.

    The platform calls `resolve` when a job file is read and `run` once an attempt, in the job's own
    process:

        run = Run.claim(path)
        metrics = workload.run(run)  # restore, train, report, checkpoint, until told to stop
        run.finish("succeeded", metrics)
    """

    name: str
    section: type[Section]
    step_unit: StepUnit
    stop_metrics: frozenset[str]
    may_change: frozenset[str]
    """Keys of its section that `covey resume --set` may change, with all that is below them."""

    def resolve(self, job: JobFile, base: Path) -> JobFile:
        """The job with relative paths made absolute against `base`.

        Raises KeyProblem for what cannot be. Never imports the job's own code.
        """

    def run(self, run: "Run") -> Mapping[str, float]:
        """Train until `run.stop_reason` says to stop; last, write a checkpoint. Final metrics."""

    def evaluate(self, run_dir: Path, episodes: int) -> Mapping[str, float]:
        """Measure the newest whole checkpoint of a run folder; federated jobs ignore `episodes`."""

    def load_policy(self, run_dir: Path) -> Policy:
        """The policy in the newest whole checkpoint of a run folder."""


@runtime_checkable
class Illustrated(Protocol):
    """What a workload may add, all of it: what people see of its runs. Of others the platform shows
    metrics by their names.
    """

    def headline(self, metrics: Mapping[str, float]) -> Sequence[str]:
        """Where a run stands, a few words each: what a progress line says beside step and goal."""

    def panels(self, job: JobFile, lines: "Lines") -> "Sequence[Panel]":
        """The panels of `curves.png`, best first; none while there is nothing to draw."""

    def pictures(self, run_dir: Path) -> Mapping[str, bytes]:
        """More pictures of a run, by the file names they get in its folder."""


@runtime_checkable
class Hosted(Protocol):
    """What a workload may add whose workers share memory with the process that runs it."""

    def bundles(self, job: JobFile) -> Sequence[Mapping[str, float]]:
        """Of the placement group of a resolved job: on a cluster it is run in the last one of them,
        as an actor, and finds the group there. None for a job that is all in one process.
        """


@runtime_checkable
class Sited(Protocol):
    """What a workload may add whose jobs run on Flower's sites: `covey render --target flower`."""

    def site_manifests(self, job: JobFile) -> "Sequence[Manifest]":
        """The SuperLink, the SuperNodes and the job, as Kubernetes' objects. UserError for a job
        that cannot run so.
        """


def workload_names() -> list[str]:
    """Every installed workload's name, sorted."""
    return sorted(entry.name for entry in entry_points(group="covey.workloads"))


def find_workload(name: str) -> Workload:
    """The installed workload of that name; KeyError when there is none."""
    for entry in entry_points(group="covey.workloads", name=name):
        workload: Workload = entry.load()
        return workload
    raise KeyError(name)
