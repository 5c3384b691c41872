"""What a RayJob's status says about its attempt, in the scheduler's words."""

import re
from collections.abc import Mapping
from typing import Any

from covey.platform.jobfile.words import one_line
from covey.platform.jobs.launcher import Phase, Sighting
from covey.platform.kubernetes.faults import mapping, text

_EXIT = re.compile(r"failed with exit code (-?\d+)")
"""In the message that Ray's job server gives, and the operator passes on."""
_ENDS = {"SUCCEEDED": Phase.SUCCEEDED, "STOPPED": Phase.STOPPED, "FAILED": Phase.FAILED}


def sighting_of(ray_job: Mapping[str, Any], has_begun: bool) -> Sighting:
    """Where the attempt stands. `has_begun`: its driver has claimed the run folder.

    An attempt that has begun and is suspended (Kueue gives its place to another) has lost its pods
    and is over: started anew under its number it could not claim the folder.
    """
    status = mapping(ray_job, "status")
    deployed, ray_says = text(status, "jobDeploymentStatus"), text(status, "jobStatus")
    told = ": ".join(filter(None, (text(status, "reason"), text(status, "message"))))
    suspended = deployed in ("Suspending", "Suspended")
    if deployed == "ValidationFailed":
        message = one_line(f"the operator refuses its RayJob: {told or 'no reason given'}")
        return Sighting(Phase.FAILED, message=message, final=True)
    if deployed in ("Complete", "Failed"):
        phase = _ENDS.get(ray_says, Phase.FAILED) if deployed == "Complete" else Phase.FAILED
        return Sighting(phase, _exit_status(told), told or f"its RayJob is {deployed}")
    if suspended and has_begun:
        return Sighting(Phase.FAILED, message="it was suspended: others needed its place")
    # An end that Ray tells of counts when the operator has seen the end of the log as well.
    if ray_says in ("RUNNING", *_ENDS):
        return Sighting(Phase.RUNNING)
    held = mapping(ray_job, "spec").get("suspend") is True
    return Sighting(Phase.PENDING, queued=held or suspended)


def _exit_status(message: str) -> int | None:
    found = _EXIT.search(message)
    return int(found[1]) if found else None
