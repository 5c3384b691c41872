"""Which launcher an address stands for: a head of our own, a Ray cluster, or Kubernetes."""

from collections.abc import Callable
from pathlib import Path

from covey.platform.jobs.kube_address import is_kubernetes, read_address
from covey.platform.jobs.launcher import Launcher
from covey.platform.jobs.store import JobStore, UnknownJob
from covey.platform.jobs.watch import Limits


def launcher_for(
    address: str | None, home: Path, store: JobStore, say: Callable[[str], None] = print
) -> Launcher:
    """None is a local head. UserError for an address where nothing answers; see each launcher."""
    if address is not None and is_kubernetes(address):
        from covey.platform.jobs.kube_launcher import KubernetesLauncher

        def has_ended(job_id: str, attempt: int) -> bool:
            return attempt_has_ended(store, job_id, attempt)

        return KubernetesLauncher(read_address(address), home, has_ended, say)
    from covey.platform.jobs.ray_launcher import JoinedRay, LocalRay

    return LocalRay(home, say) if address is None else JoinedRay(address)


def limits_for(address: str | None) -> Limits:
    """How patient the scheduler is with attempts there."""
    if not is_kubernetes(address):
        return Limits()
    from covey.platform.jobs.kube_launcher import LIMITS

    return LIMITS


def attempt_has_ended(store: JobStore, job_id: str, number: int) -> bool:
    """Whether the end of that attempt is stored."""
    try:
        attempts = store.get(job_id).attempts
    except UnknownJob:
        return False
    return any(attempt.number == number and attempt.ended_s is not None for attempt in attempts)
