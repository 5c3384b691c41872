"""One scheduler at a time: it holds a lease in the store and renews it while it works.

The epoch grows with every new holder. Each of the scheduler's writes carries its epoch, so one that
stalled past its lease (a stopped process, a laptop's sleep) cannot write once another took over.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from covey.platform.jobs.process import ProcessIdentity

LEASE_S = 30.0
RENEW_EVERY_S = 5.0


class LeaseLost(Exception):
    """Another scheduler took over; this one must not touch a job any more."""


@dataclass(frozen=True)
class Lease:
    """Who schedules, for which cluster ("" = the local head), until when."""

    epoch: int
    holder: ProcessIdentity
    address: str
    expires_s: float


def claim(
    current: Lease | None,
    holder: ProcessIdentity,
    address: str,
    now_s: float,
    is_dead: Callable[[ProcessIdentity], bool],
) -> Lease | None:
    """The claimant's lease, or None while another scheduler holds it."""
    if current is not None and is_held(current, now_s, is_dead):
        return None
    epoch = 1 if current is None else current.epoch + 1
    return Lease(epoch, holder, address, now_s + LEASE_S)


def is_held(lease: Lease | None, now_s: float, is_dead: Callable[[ProcessIdentity], bool]) -> bool:
    """Whether a scheduler is at work. A dead holder on this machine gives way at once."""
    return lease is not None and now_s < lease.expires_s and not is_dead(lease.holder)


def renew(current: Lease | None, epoch: int, now_s: float) -> Lease:
    """The lease for another while, also one that ran out but nobody took. Raises LeaseLost."""
    return replace(_own(current, epoch), expires_s=now_s + LEASE_S)


def release(current: Lease | None, epoch: int) -> Lease:
    """The lease given back: kept for its epoch, but open to the next. Raises LeaseLost."""
    return replace(_own(current, epoch), expires_s=0)


def _own(current: Lease | None, epoch: int) -> Lease:
    if current is None or current.epoch != epoch:
        raise LeaseLost(f"epoch {epoch} is over; the store says {current}")
    return current
