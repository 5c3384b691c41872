"""Addresses of Kubernetes clusters: `kubernetes://NAMESPACE?context=NAME&cpus=16&gpus=2`."""

import math
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from covey.platform.errors import UserError
from covey.platform.jobs.admission import Capacity
from covey.platform.kubernetes import syntax

SCHEME = "kubernetes://"


@dataclass(frozen=True)
class KubeAddress:
    """Where attempts run as RayJobs."""

    namespace: str
    #: of the kubeconfig; None: its current one, or in a pod the pod's service account
    context: str | None = None
    #: what jobs take at the same time; unlimited where Kubernetes or Kueue lets them wait
    room: Capacity = field(default_factory=lambda: Capacity(math.inf, math.inf))


def is_kubernetes(address: str | None) -> bool:
    """Whether it names a Kubernetes cluster, and not a Ray cluster."""
    return address is not None and address.startswith(SCHEME)


def read_address(address: str) -> KubeAddress:
    """UserError for one that is none."""
    parts = urlsplit(address)
    if parts.path.strip("/") or parts.fragment or syntax.dns_label(parts.netloc) is not None:
        raise UserError(f"--address {address}: write {SCHEME}NAMESPACE")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    context = options.pop("context", None)
    room = Capacity(_amount(address, options, "cpus"), _amount(address, options, "gpus"))
    if options:
        raise UserError(
            f"--address {address}: {', '.join(options)}: allowed are context, cpus and gpus"
        )
    return KubeAddress(parts.netloc, context, room)


def _amount(address: str, options: dict[str, str], name: str) -> float:
    text = options.pop(name, "inf")
    try:
        amount = float(text)
    except ValueError:
        amount = -1
    if not amount >= 0:
        raise UserError(f"--address {address}: {name}: {text}: allowed is a number from 0 on")
    return amount
