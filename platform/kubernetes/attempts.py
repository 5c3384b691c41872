"""The RayJob that is one attempt of the scheduler's: its name, its labels, and what is in it."""

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from covey.platform.errors import UserError
from covey.platform.jobfile.load import dump_job_file
from covey.platform.jobfile.model import JobFile
from covey.platform.kubernetes.faults import mapping, text, texts
from covey.platform.kubernetes.job_files import local_paths
from covey.platform.kubernetes.metadata import MAX_RAY_JOB_NAME
from covey.platform.kubernetes.pods import Manifest
from covey.platform.kubernetes.ray_kinds import Inside, labels_of, ray_job_of, section_of

STORE, JOB, ATTEMPT = "covey/store", "covey/job", "covey/attempt"
"""Labels: whose scheduler's it is, and which attempt."""
SUBMISSION, RUN_DIR, GRACE = "covey/submission-id", "covey/run-dir", "covey/grace-s"
"""Annotations."""
POD_END_S = 10
"""On top of a job's grace period, for Ray to end as well."""


def ray_job_name(submission_id: str) -> str:
    """The submission id; where that is no name for a RayJob, as much of it as may be, and a digest
    of it all.
    """
    readable = submission_id if submission_id[0].isalpha() else f"job-{submission_id}"
    if readable == submission_id and len(readable) <= MAX_RAY_JOB_NAME:
        return readable
    digest = hashlib.sha256(submission_id.encode()).hexdigest()[:10]
    return f"{readable[: MAX_RAY_JOB_NAME - 11].rstrip('-')}-{digest}"


@dataclass(frozen=True)
class Attempt:
    """An attempt, as its RayJob tells of it."""

    submission_id: str
    job_id: str
    number: int
    run_dir: str
    grace_s: float
    store: str

    @classmethod
    def of(cls, ray_job: Mapping[str, Any]) -> "Attempt | None":
        """The attempt that a RayJob was made for; None where it is somebody else's."""
        metadata = mapping(ray_job, "metadata")
        labels, notes = texts(metadata, "labels"), texts(metadata, "annotations")
        try:
            attempt = cls(
                submission_id=notes[SUBMISSION],
                job_id=labels[JOB],
                number=int(labels[ATTEMPT]),
                run_dir=notes[RUN_DIR],
                grace_s=float(notes[GRACE]),
                store=labels[STORE],
            )
        except (KeyError, ValueError):
            return None
        name = ray_job_name(attempt.submission_id)
        return attempt if name == text(metadata, "name") else None


def attempt_ray_job(job: JobFile, attempt: Attempt, namespace: str, home: Path) -> Manifest:
    """A RayJob that runs the attempt once, in its run folder on the claim: the scheduler tries
    again, not the operator. Pods see the claim where the scheduler has it, at `home`.
    """
    section = section_of(job)
    if section.namespace not in ("default", namespace):
        raise UserError(
            f"kubernetes.namespace: {section.namespace}, but this scheduler works in {namespace}"
        )
    labels = {STORE: attempt.store, JOB: attempt.job_id, ATTEMPT: str(attempt.number)}
    notes = {
        SUBMISSION: attempt.submission_id,
        RUN_DIR: attempt.run_dir,
        GRACE: str(attempt.grace_s),
    }
    metadata = {
        "name": ray_job_name(attempt.submission_id),
        "namespace": namespace,
        "labels": labels_of(job) | labels | {"ray.io/gang-scheduling-enabled": "true"},
        "annotations": notes,
    }
    grace_s = max(1, round(attempt.grace_s))
    variables = {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(grace_s)}}
    limits = {
        "submitterConfig": {"backoffLimit": 0},
        "backoffLimit": 0,
        "runtimeEnvYAML": yaml.safe_dump(variables),
    }
    run_dir = shlex.quote(attempt.run_dir)
    # `exec`: signals reach Python, and not a shell before it.
    command = f"exec python -P -m covey.platform.driver {run_dir} --attempt {attempt.number}"
    inside = Inside(home=str(home), grace_s=grace_s + POD_END_S)
    return ray_job_of(job, metadata, command, limits, inside)


def refuse_paths_outside(job: JobFile, home: Path) -> None:
    """UserError for a folder that the job names and that no pod sees."""
    for _, key, path in local_paths(yaml.safe_load(dump_job_file(job))):
        if not Path(path).is_relative_to(home):
            raise UserError(
                f"{key}: {path} is not on the claim, which is all that pods see; put it below "
                f"{home}"
            )
