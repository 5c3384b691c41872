"""Attempts on a cluster that another scheduler looked after: they must not be taken for gone.

A scheduler sees one cluster. To one for another cluster the attempts there look as if theirs were
gone, and it would start live jobs a second time.
"""

from collections.abc import Callable

from covey.platform.errors import UserError
from covey.platform.jobs.job import ACTIVE
from covey.platform.jobs.kube_address import is_kubernetes
from covey.platform.jobs.lease import Lease
from covey.platform.jobs.store import JobStore


def refuse_other_cluster(
    store: JobStore, lease: Lease | None, address: str, serves: Callable[[str], bool]
) -> None:
    """UserError when jobs are active where a scheduler for `address` cannot see them.

    `lease` is the last scheduler's: at its address are the active attempts. A cluster is known by
    its id as well (`serves`), since an address can be written in several ways.
    """
    if lease is None or lease.address == address:
        return
    jobs = [store.get(row.job_id) for row in store.rows(ACTIVE)]
    unseen = [job.job_id for job in jobs if not serves(job.last_attempt.cluster)]
    if unseen:
        option = f" --address {lease.address}" if lease.address else ""
        raise UserError(
            f"{', '.join(unseen)}: still active on {name_of(lease.address)}, which a scheduler for "
            f"{name_of(address)} cannot see; run `covey scheduler{option}` until they have ended"
        )


def name_of(address: str) -> str:
    """A cluster in words."""
    if is_kubernetes(address):
        return f"Kubernetes ({address})"
    return f"the Ray cluster at {address}" if address else "the local Ray head"
