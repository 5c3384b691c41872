"""What an API server demands beyond their schema of Kubernetes' own kinds that hold no pods."""

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from covey.platform.errors import Key
from covey.platform.jobfile.words import found
from covey.platform.kubernetes import syntax, workload_rules
from covey.platform.kubernetes.container_rules import chosen, port_and_protocol
from covey.platform.kubernetes.faults import (
    Finding,
    Findings,
    mapping,
    number,
    repeated,
    rows,
    text,
    texts,
)

Section = Mapping[str, Any]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
SPEC: Key = ("spec",)
SERVICE_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
ACCESS_MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
MAX_DATA = 2**20
MAX_PRIORITY = 1_000_000_000
RBAC = "rbac.authorization.k8s.io"


def service(data: Section) -> Findings:
    spec = mapping(data, "spec")
    kind, ports = text(spec, "type") or "ClusterIP", rows(spec, "ports", SPEC)
    yield from chosen(spec, "type", SERVICE_TYPES, SPEC)
    yield from syntax.label_findings(texts(spec, "selector"), (*SPEC, "selector"))
    if kind == "ExternalName" and not text(spec, "externalName"):
        yield Finding((*SPEC, "externalName"), "is missing: the type is ExternalName")
    if kind != "ExternalName" and not ports and text(spec, "clusterIP") != "None":
        yield Finding((*SPEC, "ports"), "is missing, a service has at least one port")
    yield from repeated(((*path, "name"), text(port, "name")) for path, port in ports)
    numbers = [((*path, "port"), port_and_protocol(port, "port")) for path, port in ports]
    yield from repeated(numbers)
    for path, port in ports:
        yield from syntax.port_findings(port.get("port"), (*path, "port"))
        yield from syntax.port_findings(port.get("targetPort"), (*path, "targetPort"))
        yield from chosen(port, "protocol", ("TCP", "UDP", "SCTP"), path)
        name = text(port, "name")
        if name and (wrong := syntax.dns_label(name)):
            yield Finding((*path, "name"), wrong)
        elif not name and len(ports) > 1:
            yield Finding((*path, "name"), "is missing: with several ports each has a name")
        if number(port, "nodePort") and kind not in ("NodePort", "LoadBalancer"):
            yield Finding((*path, "nodePort"), f"is not possible with the type {kind}")


def config_map(data: Section) -> Findings:
    """Also of a Secret: files by their names."""
    parts = ("data", "binaryData", "stringData")
    size = 0
    for part in parts:
        for name, value in mapping(data, part).items():
            size += len(str(value).encode())
            if wrong := syntax.config_key(name):
                yield Finding((part, name), wrong)
    for name in mapping(data, "binaryData"):
        if name in mapping(data, "data"):
            yield Finding(("binaryData", name), "stands in data too, allowed is once")
    if size > MAX_DATA:
        yield Finding(("data",), f"holds {size} bytes, allowed are {MAX_DATA}")


def role(data: Section) -> Findings:
    """Also of a ClusterRole."""
    for path, rule in rows(data, "rules", ()):
        if not rule.get("verbs"):
            yield Finding((*path, "verbs"), "is missing, a rule has at least one verb")
        if rule.get("nonResourceURLs"):
            if text(data, "kind") == "Role":
                yield Finding((*path, "nonResourceURLs"), "is possible in a ClusterRole only")
            continue
        if not rule.get("resources"):
            yield Finding((*path, "resources"), "is missing, a rule has at least one resource")
        if not rule.get("apiGroups"):
            yield Finding((*path, "apiGroups"), 'is missing; [""] is the core group')


def role_binding(data: Section) -> Findings:
    """Also of a ClusterRoleBinding."""
    reference = mapping(data, "roleRef")
    kinds = ("Role", "ClusterRole") if text(data, "kind") == "RoleBinding" else ("ClusterRole",)
    yield from chosen(reference, "kind", kinds, ("roleRef",))
    yield from chosen(reference, "apiGroup", (RBAC,), ("roleRef",))
    for path, subject in rows(data, "subjects", ()):
        yield from chosen(subject, "kind", ("ServiceAccount", "User", "Group"), path)
        if text(subject, "kind") == "ServiceAccount":
            if not text(subject, "namespace"):
                yield Finding((*path, "namespace"), "is missing: a ServiceAccount is in one")
            if text(subject, "apiGroup"):
                yield Finding((*path, "apiGroup"), "goes without the kind ServiceAccount only")
            if (name := text(subject, "name")) and (wrong := syntax.dns_subdomain(name)):
                yield Finding((*path, "name"), wrong)


def network_policy(data: Section) -> Findings:
    spec = mapping(data, "spec")
    types = spec.get("policyTypes")
    for place, each in enumerate(types if isinstance(types, list) else ()):
        path: Key = (*SPEC, "policyTypes")
        for finding in chosen({"type": each}, "type", ("Ingress", "Egress"), ()):
            yield Finding((*path, place), finding.message)
    selector = texts(mapping(spec, "podSelector"), "matchLabels")
    yield from syntax.label_findings(selector, (*SPEC, "podSelector", "matchLabels"))
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for path, rule in rows(spec, direction, SPEC):
            for port_path, port in rows(rule, "ports", path):
                yield from _policy_port(port, port_path)
            for peer_path, peer in rows(rule, peers, path):
                yield from _peer(peer, peer_path)


def _policy_port(port: Section, key: Key) -> Findings:
    yield from chosen(port, "protocol", ("TCP", "UDP", "SCTP"), key)
    yield from syntax.port_findings(port.get("port"), (*key, "port"))
    first, last = number(port, "port"), number(port, "endPort")
    if last is not None and (first is None or last < first):
        yield Finding((*key, "endPort"), "needs a port that is a number and no higher")


def _peer(peer: Section, key: Key) -> Findings:
    selectors = [name for name in ("podSelector", "namespaceSelector") if name in peer]
    for name in selectors:
        labels = texts(mapping(peer, name), "matchLabels")
        yield from syntax.label_findings(labels, (*key, name, "matchLabels"))
    if "ipBlock" not in peer:
        if not selectors:
            yield Finding(key, "is empty, allowed are ipBlock, podSelector, namespaceSelector")
        return
    block = mapping(peer, "ipBlock")
    if selectors:
        yield Finding((*key, "ipBlock"), f"goes without {selectors[0]} only")
    try:
        whole = _network(text(block, "cidr"))
    except ValueError:
        message = f"found {found(block.get('cidr'))}, allowed is a network such as 10.0.0.0/8"
        yield Finding((*key, "ipBlock", "cidr"), message)
        return
    holes = block.get("except")
    for place, hole in enumerate(holes if isinstance(holes, list) else ()):
        if not _is_inside(str(hole), whole):
            message = f"found {found(hole)}, allowed is a network inside {whole}"
            yield Finding((*key, "ipBlock", "except", place), message)


def _network(cidr: str) -> Network:
    """Raises ValueError for what is none; an address without a length of prefix is none."""
    if "/" not in cidr:
        raise ValueError(cidr)
    return ipaddress.ip_network(cidr, strict=False)


def _is_inside(hole: str, whole: Network) -> bool:
    try:
        inner = _network(hole)
    except ValueError:
        return False
    # Each half of the comparison is of one family, which the types cannot say.
    return inner != whole and inner.version == whole.version and inner.subnet_of(whole)  # type: ignore[arg-type]


def volume_claim(data: Section) -> Findings:
    spec = mapping(data, "spec")
    modes = spec.get("accessModes")
    if not isinstance(modes, list) or not modes:
        yield Finding((*SPEC, "accessModes"), "is missing, a claim has at least one")
    for place, mode in enumerate(modes if isinstance(modes, list) else ()):
        for finding in chosen({"mode": mode}, "mode", ACCESS_MODES, ()):
            yield Finding((*SPEC, "accessModes", place), finding.message)
    yield from chosen(spec, "volumeMode", ("Filesystem", "Block"), SPEC)
    storage = mapping(spec, "resources", "requests").get("storage")
    path: Key = (*SPEC, "resources", "requests", "storage")
    if storage is None:
        yield Finding(path, "is missing")
    elif (syntax.quantity(storage) or 0) <= 0:
        yield Finding(path, f"found {found(storage)}, allowed is a size such as 10Gi")


def priority_class(data: Section) -> Findings:
    value = number(data, "value") or 0
    name = text(mapping(data, "metadata"), "name")
    if value > MAX_PRIORITY:
        yield Finding(("value",), f"found {value}, allowed is at most {MAX_PRIORITY}")
    if name.startswith("system-"):
        yield Finding(("metadata", "name"), "names with system- are Kubernetes' own")
    yield from chosen(data, "preemptionPolicy", ("Never", "PreemptLowerPriority"), ())


RULES: Mapping[str, Callable[[Section], Findings]] = {
    "ClusterRole": role,
    "ClusterRoleBinding": role_binding,
    "ConfigMap": config_map,
    "CronJob": workload_rules.cron_job,
    "DaemonSet": workload_rules.deployment,
    "Deployment": workload_rules.deployment,
    "Job": workload_rules.job,
    "NetworkPolicy": network_policy,
    "PersistentVolumeClaim": volume_claim,
    "Pod": workload_rules.pod,
    "PriorityClass": priority_class,
    "ReplicaSet": workload_rules.deployment,
    "Role": role,
    "RoleBinding": role_binding,
    "Secret": config_map,
    "Service": service,
    "StatefulSet": workload_rules.deployment,
}
