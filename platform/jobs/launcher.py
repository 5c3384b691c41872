"""How the scheduler reaches a cluster: `ray_launcher.py` and `kube_launcher.py` really,
`MemoryLauncher` in tests.

None of these waits long: a cluster that does not answer raises Unreachable, and the scheduler asks
again at its next turn.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from covey.platform.errors import UserError
from covey.platform.jobs.admission import Capacity


class Unreachable(Exception):
    """The cluster did not answer (yet): nothing is known about its attempts."""


class CannotStart(UserError):
    """Something of the job's is missing here, or the cluster refuses it: it could never start."""


class Phase(StrEnum):
    """Where an attempt stands on its cluster, in Ray's words."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"


@dataclass(frozen=True)
class Sighting:
    """What the cluster says about an attempt."""

    phase: Phase
    exit_status: int | None = None
    message: str = ""
    #: pending because the cluster has a queue of its own: that may last
    queued: bool = False
    #: failed in a way in which another attempt would fail too
    final: bool = False


@dataclass(frozen=True)
class Cluster:
    """A cluster that takes attempts. `fixed`: it will not grow, so what does not fit never will."""

    cluster_id: str
    total: Capacity
    fixed: bool


@dataclass(frozen=True)
class Start:
    """An attempt to be started: what the driver needs."""

    submission_id: str
    run_dir: str
    attempt: int
    grace_s: float


class Launcher(Protocol):
    """A cluster, as the scheduler uses it:

    cluster = launcher.cluster()          # None: not up yet
    launcher.submit(start)                # the same submission id is started at most once
    sighting = launcher.look(submission_id)
    """

    def cluster(self) -> Cluster | None:
        """The cluster in use; None while it is not up. Starts it where it is our own."""

    def serves(self, cluster_id: str) -> bool:
        """Whether that very cluster is the one in use; touches nothing."""

    def is_gone(self, cluster_id: str) -> bool:
        """Whether nothing runs any more on a cluster that this launcher's kind once used.

        What `elsewhere.refuse_other_cluster` lets through is of this kind.
        """

    def submit(self, start: Start) -> None:
        """Start an attempt, unless the cluster knows its id already. Raises Unreachable, and
        CannotStart.
        """

    def look(self, submission_id: str) -> Sighting | None:
        """What the cluster says; None when it never heard of that id. Raises Unreachable."""

    def stop(self, submission_id: str) -> None:
        """Ask the attempt to end within its grace period; asked again after it, end it. Raises
        Unreachable.
        """

    def output(self, submission_id: str) -> str:
        """The last megabyte of what the driver has printed. Raises Unreachable."""

    def close(self, leave_running: bool) -> None:
        """Let go of the cluster; one of our own is stopped unless it is to be left running."""


@dataclass
class MemoryLauncher:
    """A cluster that a test plays by hand: set `sightings`, `up`, or what the next calls raise."""

    total: Capacity = field(default_factory=lambda: Capacity(2, 0))
    cluster_id: str = "memory-1"
    fixed: bool = True
    up: bool = True
    sightings: dict[str, Sighting] = field(default_factory=dict)
    #: how often each id was really started, ended and asked to stop
    started: Counter[str] = field(default_factory=Counter)
    stops: Counter[str] = field(default_factory=Counter)
    starts: dict[str, Start] = field(default_factory=dict)
    #: what every driver printed
    printed: str = ""
    #: raised by the next submit, before or after it took effect
    fails_before: Exception | None = None
    fails_after: Exception | None = None

    def cluster(self) -> Cluster | None:
        return Cluster(self.cluster_id, self.total, self.fixed) if self.up else None

    def serves(self, cluster_id: str) -> bool:
        return cluster_id == self.cluster_id

    def is_gone(self, cluster_id: str) -> bool:
        return cluster_id != self.cluster_id

    def submit(self, start: Start) -> None:
        self._answer()
        error, self.fails_before = self.fails_before, None
        if error is not None:
            raise error
        if start.submission_id not in self.sightings:
            self.started[start.submission_id] += 1
            self.starts[start.submission_id] = start
            self.sightings[start.submission_id] = Sighting(Phase.PENDING)
        error, self.fails_after = self.fails_after, None
        if error is not None:
            raise error

    def look(self, submission_id: str) -> Sighting | None:
        self._answer()
        return self.sightings.get(submission_id)

    def stop(self, submission_id: str) -> None:
        self._answer()
        self.stops[submission_id] += 1

    def output(self, submission_id: str) -> str:
        self._answer()
        return self.printed

    def close(self, leave_running: bool) -> None:
        self.up = leave_running

    def play(self, submission_id: str, phase: Phase, exit_status: int | None = None) -> None:
        """From now on the cluster says this about the attempt."""
        known = self.sightings[submission_id]
        self.sightings[submission_id] = replace(known, phase=phase, exit_status=exit_status)

    def renew(self, cluster_id: str) -> None:
        """The cluster died and another stands in its place."""
        self.cluster_id = cluster_id
        self.sightings.clear()

    def _answer(self) -> None:
        if not self.up:
            raise Unreachable("the cluster does not answer")
