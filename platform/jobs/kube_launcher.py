"""The launcher over Kubernetes: an attempt is a RayJob, which KubeRay's operator runs.

The scheduler and the pods share the run folders, on one claim that all mount at the same path:
through them an attempt is asked to end. Deleting its RayJob would take its pods away at once.
"""

import math
import secrets
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from covey.platform.errors import UserError
from covey.platform.jobs.kube_address import KubeAddress
from covey.platform.jobs.kube_api import Conflict, KubeApi, RayJob
from covey.platform.jobs.kube_cache import WINDOW_S, RayJobCache
from covey.platform.jobs.kube_status import sighting_of
from covey.platform.jobs.launcher import CannotStart, Cluster, Phase, Sighting, Start, Unreachable
from covey.platform.jobs.watch import Limits
from covey.platform.kubernetes.attempts import (
    STORE,
    Attempt,
    attempt_ray_job,
    ray_job_name,
    refuse_paths_outside,
)
from covey.platform.runs.durable import write_whole
from covey.platform.runs.fence import newest_attempt
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.stop_request import ask, asked_at_s

LIMITS = Limits(pending_s=1800, silent_s=math.inf)
"""A node and its image may take many minutes. A server that is silent has lost no RayJob."""
HasEnded = Callable[[str, int], bool]
"""Whether the store has the end of that job's attempt."""


class KubernetesLauncher:
    """Attempts run in a namespace of somebody's cluster. RayJobs of attempts whose end is stored
    are deleted.

    UserError where no server answers, our token is refused, or there is no such namespace or no
    KubeRay.
    """

    def __init__(
        self,
        address: KubeAddress,
        home: Path,
        has_ended: HasEnded,
        say: Callable[[str], None] = print,
        window_s: int = WINDOW_S,
    ) -> None:
        self._room = address.room
        self._home = home
        self._has_ended = has_ended
        self._say = say
        self._window_s = window_s
        self._cache: RayJobCache | None = None
        self._api = KubeApi(address.namespace, address.context)
        try:
            uid = self._api.namespace_uid()
            if uid is not None:
                self._api.ray_jobs(f"{STORE}=none")  # whether there are RayJobs, and for us
        except Unreachable as error:
            raise UserError(f"namespace {address.namespace}: {error}") from error
        if uid is None:
            raise UserError(
                f"there is no namespace {address.namespace}: kubectl create namespace "
                f"{address.namespace}"
            )
        self._cluster_id = _cluster_id(uid)

    def cluster(self) -> Cluster | None:
        uid = self._api.namespace_uid()
        if uid is None:
            raise Unreachable(f"there is no namespace {self._api.namespace} any more")
        self._cluster_id = _cluster_id(uid)
        return Cluster(self._cluster_id, self._room, fixed=True)

    def serves(self, cluster_id: str) -> bool:
        return cluster_id == self._cluster_id

    def is_gone(self, cluster_id: str) -> bool:
        """The namespace was deleted, and made anew."""
        return cluster_id != self._cluster_id

    def submit(self, start: Start) -> None:
        attempt = self._attempt(start)
        try:
            job = RunFolder.open(Path(start.run_dir)).job()
            if not self._api.in_cluster:  # in a pod paths of the image are everywhere
                refuse_paths_outside(job, self._home)
            ray_job = attempt_ray_job(job, attempt, self._api.namespace, self._home)
        except UserError as error:
            raise CannotStart(str(error)) from error
        self._followed()
        try:
            self._api.create(ray_job)
        except Conflict:
            self._check_ours(start.submission_id)
        except Unreachable:
            if self._api.get(ray_job_name(start.submission_id)) is None:
                raise
            self._check_ours(start.submission_id)

    def look(self, submission_id: str) -> Sighting | None:
        found = self._find(submission_id)
        if found is None:
            return None
        ray_job, attempt = found
        return sighting_of(ray_job, _has_begun(attempt))

    def stop(self, submission_id: str) -> None:
        """Through the run folder; what has not begun, or heeds no request, is deleted."""
        found = self._find(submission_id)
        if found is None:
            return
        ray_job, attempt = found
        asked_s = asked_at_s(Path(attempt.run_dir), attempt.number)
        if asked_s is None and self._may_hear(ray_job, attempt):
            try:
                ask(Path(attempt.run_dir), attempt.number)
                return
            except OSError as error:
                self._say(f"{attempt.job_id}: cannot be asked to stop, and is ended: {error}")
        elif asked_s is not None and time.time() < asked_s + attempt.grace_s:
            return
        self._delete(ray_job)

    def _may_hear(self, ray_job: RayJob, attempt: Attempt) -> bool:
        """Whether a driver runs, or soon will: a network file system tells late of its claim."""
        begun = _has_begun(attempt)
        return begun or sighting_of(ray_job, begun).phase is Phase.RUNNING

    def output(self, submission_id: str) -> str:
        return self._api.log(ray_job_name(submission_id))

    def close(self, leave_running: bool) -> None:
        """Nothing of ours is there but attempts; those that have ended go."""
        if self._cache is not None:
            self._cache.stop()
            self._clean(self._cache.all())
            self._cache = None

    def _attempt(self, start: Start) -> Attempt:
        job_id, _, _ = start.submission_id.rpartition("-")
        return Attempt(
            start.submission_id, job_id, start.attempt, start.run_dir, start.grace_s, self._store
        )

    @cached_property
    def _store(self) -> str:
        """A name that no other scheduler's store has, and its RayJobs carry."""
        file = self._home / "kubernetes-store"
        if not file.exists():
            write_whole(file, secrets.token_hex(8).encode())
        return file.read_text()

    def _followed(self) -> RayJobCache:
        if self._cache is None:
            selector = f"{STORE}={self._store}"
            self._cache = RayJobCache(self._api, selector, self._clean, self._window_s)
        return self._cache

    def _find(self, submission_id: str) -> tuple[RayJob, Attempt] | None:
        """Our RayJob; None where there is none of ours. Raises Unreachable."""
        name = ray_job_name(submission_id)
        ray_job = self._followed().get(name) or self._api.get(name)
        attempt = None if ray_job is None else self._ours(ray_job)
        if ray_job is None or attempt is None or attempt.submission_id != submission_id:
            return None
        return ray_job, attempt

    def _ours(self, ray_job: RayJob) -> Attempt | None:
        attempt = Attempt.of(ray_job)
        return attempt if attempt is not None and attempt.store == self._store else None

    def _check_ours(self, submission_id: str) -> None:
        """A RayJob of the attempt's name is there: CannotStart unless an earlier call made it."""
        name = ray_job_name(submission_id)
        found = self._api.get(name)
        if found is None:
            raise Unreachable(f"RayJob {name} was there, and is gone: it is made again")
        known = self._ours(found)
        if known is None or known.submission_id != submission_id:
            raise CannotStart(
                f"a RayJob {name} is in namespace {self._api.namespace} already, and this "
                "scheduler did not make it"
            )

    def _clean(self, ray_jobs: list[RayJob]) -> None:
        """Delete what is over. Trouble is said; the next window tries again."""
        try:
            for ray_job in ray_jobs:
                attempt = self._ours(ray_job)
                if attempt is not None and self._has_ended(attempt.job_id, attempt.number):
                    self._delete(ray_job)
        except Unreachable:
            pass
        except Exception as error:
            self._say(f"ended RayJobs are not deleted: {type(error).__name__}: {error}")

    def _delete(self, ray_job: RayJob) -> None:
        metadata = ray_job["metadata"]
        if "deletionTimestamp" not in metadata:
            self._api.delete(metadata["name"], metadata["uid"])


def _has_begun(attempt: Attempt) -> bool:
    """Whether its driver has claimed the run folder."""
    return newest_attempt(Path(attempt.run_dir)) >= attempt.number


def _cluster_id(namespace_uid: str) -> str:
    return f"kubernetes-{namespace_uid}"
