"""How an attempt ended: the cluster's word and the run folder's `result.json` put together."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from covey.platform.exit_status import ExitStatus
from covey.platform.jobs.job import State
from covey.platform.jobs.launcher import Phase, Sighting
from covey.platform.runs.result import read_result


@dataclass(frozen=True)
class Verdict:
    """`result`: succeeded, failed or stopped. `final`: another attempt would fail the same way."""

    result: State
    reason: str
    exit_status: int | None = None
    final: bool = False


def result_of(run_dir: Path, attempt: int) -> Mapping[str, object] | None:
    """The attempt's own `result.json`; None when there is none, or one of another attempt."""
    result = read_result(run_dir)
    return result if result.get("attempt") == attempt else None


def judge(
    sighting: Sighting | None,
    result: Mapping[str, object] | None,
    lost: str,
    stop_requested: bool = False,
) -> Verdict:
    """How the attempt ended. Without a sighting the cluster knows nothing of it; `lost` says why.

    `result.json` is written last by a driver that ended in order, so its word alone makes a
    success: exit status 0 may also be user code's. An attempt that stopped although nobody asked
    this job to (`stop_requested`) was ended from outside, and counts as a failed one.
    """
    told = str((result or {}).get("error") or (result or {}).get("reason") or "")
    state = (result or {}).get("state")
    status = None if sighting is None else sighting.exit_status
    if state == State.SUCCEEDED:
        return Verdict(State.SUCCEEDED, told or "succeeded", status)
    if _has_stopped(sighting, state):
        if stop_requested:
            return Verdict(State.STOPPED, told or "stopped", status)
        return Verdict(State.FAILED, "it was ended from outside, not by `covey stop`", status)
    if sighting is None:
        return Verdict(State.FAILED, lost)
    if sighting.phase is Phase.SUCCEEDED:
        reason = "its process ended with exit status 0 before the training had ended"
        return Verdict(State.FAILED, told or reason, status)
    if status == ExitStatus.SUPERSEDED:
        reason = "the run folder was taken over by another run of this job"
        return Verdict(State.FAILED, reason, status, final=True)
    reason = told or _last_words(sighting)
    final = sighting.final or status == ExitStatus.USER_MISTAKE
    return Verdict(State.FAILED, reason, status, final)


def _has_stopped(sighting: Sighting | None, state: object) -> bool:
    if sighting is None:
        return state == State.STOPPED
    return sighting.phase is Phase.STOPPED or sighting.exit_status == ExitStatus.STOPPED


def _last_words(sighting: Sighting) -> str:
    """One line out of the cluster's message, which may hold the end of the driver's log."""
    lines = [line.strip() for line in sighting.message.splitlines() if line.strip()]
    last = lines[-1][:500] if lines else "no reason given"
    if sighting.exit_status is None:
        return last
    if sighting.exit_status < 0:
        return f"the driver was killed by signal {-sighting.exit_status}"
    return f"the driver ended with exit status {sighting.exit_status}: {last}"
