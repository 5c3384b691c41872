"""How an attempt ended: the cluster's word and the run folder's `result.json` put together."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from covey.platform.jobs.job import State
from covey.platform.jobs.launcher import Phase, Sighting

USER_MISTAKE, SUPERSEDED, STOPPED_ON_REQUEST = 2, 3, 4
"""Exit statuses of the driver, beside 0 (succeeded) and 1 (failed, perhaps not again)."""


@dataclass(frozen=True)
class Outcome:
    """`result`: succeeded, failed or stopped. `final`: another attempt would fail the same way."""

    result: State
    reason: str
    exit_status: int | None = None
    final: bool = False


def read_result(run_dir: Path, attempt: int) -> Mapping[str, object] | None:
    """The attempt's own `result.json`; None when there is none, or one of another attempt."""
    try:
        result = json.loads((run_dir / "result.json").read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(result, dict) or result.get("attempt") != attempt:
        return None
    return result


def judge(sighting: Sighting | None, result: Mapping[str, object] | None, lost: str) -> Outcome:
    """How the attempt ended. Without a sighting the cluster knows nothing of it; `lost` says why.

    `result.json` is written last by a driver that ended in order, so its word counts where the
    cluster's is missing, and its reason says more.
    """
    told = str((result or {}).get("error") or (result or {}).get("reason") or "")
    if sighting is None:
        if result is not None and result.get("state") in ("succeeded", "stopped"):
            return Outcome(State(str(result["state"])), told or str(result["state"]))
        return Outcome(State.FAILED, lost)
    status = sighting.exit_status
    if sighting.phase is Phase.SUCCEEDED:
        return Outcome(State.SUCCEEDED, told or "succeeded", status)
    if sighting.phase is Phase.STOPPED or status == STOPPED_ON_REQUEST:
        succeeded = result is not None and result.get("state") == "succeeded"
        return Outcome(State.SUCCEEDED if succeeded else State.STOPPED, told or "stopped", status)
    if status == SUPERSEDED:
        reason = "the run folder was taken over by another run of this job"
        return Outcome(State.FAILED, reason, status, final=True)
    reason = told or _last_words(sighting)
    return Outcome(State.FAILED, reason, status, final=status == USER_MISTAKE)


def _last_words(sighting: Sighting) -> str:
    """One line out of the cluster's message, which may hold the end of the driver's log."""
    lines = [line.strip() for line in sighting.message.splitlines() if line.strip()]
    last = lines[-1][:500] if lines else "no reason given"
    if sighting.exit_status is None:
        return last
    if sighting.exit_status < 0:
        return f"the driver was killed by signal {-sighting.exit_status}"
    return f"the driver ended with exit status {sighting.exit_status}: {last}"
