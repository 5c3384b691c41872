"""What an API server demands of a pod template beyond its schema: the pod as a whole."""

import posixpath
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from covey.platform.errors import Key
from covey.platform.jobfile.words import found
from covey.platform.kubernetes import syntax
from covey.platform.kubernetes.container_rules import (
    chosen,
    container_findings,
    mount_findings,
    one_of,
)
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
from covey.platform.kubernetes.metadata import described

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
PATHS = ("configMap", "secret", "projected", "downwardAPI")


def template_findings(
    template: object,
    key: Key,
    restart_policies: Sequence[str] = RESTART_POLICIES,
    claimed: Collection[str] = (),
) -> Findings:
    """What is wrong with a pod template, which stands at `key`.

    `restart_policies` are those that its kind allows (one that is not set is the kind's affair),
    `claimed` the volumes that its kind adds.
    """
    yield from described(mapping(template, "metadata"), (*key, "metadata"))
    pod = mapping(template, "spec")
    yield from pod_findings(pod, (*key, "spec"), restart_policies, claimed)


def pod_findings(
    pod: Mapping[str, Any],
    key: Key,
    restart_policies: Sequence[str] = RESTART_POLICIES,
    claimed: Collection[str] = (),
) -> Findings:
    """What is wrong with a pod's specification, which stands at `key`."""
    if not pod.get("containers"):
        yield Finding((*key, "containers"), "is missing, a pod has at least one container")
    yield from chosen(pod, "restartPolicy", restart_policies, key)
    yield from chosen(pod, "dnsPolicy", DNS_POLICIES, key)
    yield from _numbers(pod, key)
    yield from _volumes(pod, key)
    yield from _containers(pod, key, claimed)
    yield from _placement(pod, key)
    for name in ("serviceAccountName", "priorityClassName"):
        if (value := text(pod, name)) and (wrong := syntax.dns_subdomain(value)):
            yield Finding((*key, name), wrong)


def _numbers(pod: Mapping[str, Any], key: Key) -> Findings:
    for name, low in (("terminationGracePeriodSeconds", 0), ("activeDeadlineSeconds", 1)):
        value = number(pod, name)
        if value is not None and value < low:
            yield Finding((*key, name), f"found {value}, allowed is at least {low}")
    security = mapping(pod, "securityContext")
    for name in ("runAsUser", "runAsGroup", "fsGroup"):
        value = number(security, name)
        if value is not None and not 0 <= value < 2**31:
            yield Finding(
                (*key, "securityContext", name), f"found {value}, allowed is 0 to {2**31 - 1}"
            )
    if mapping(security, "seccompProfile"):
        yield from chosen(
            mapping(security, "seccompProfile"),
            "type",
            ("RuntimeDefault", "Unconfined", "Localhost"),
            (*key, "securityContext", "seccompProfile"),
        )
    user = number(security, "runAsUser")
    if security.get("runAsNonRoot") is True and user == 0:
        yield Finding((*key, "securityContext", "runAsUser"), "0 is root, but runAsNonRoot is true")


def _volumes(pod: Mapping[str, Any], key: Key) -> Findings:
    volumes = rows(pod, "volumes", key)
    yield from repeated(((*path, "name"), text(volume, "name")) for path, volume in volumes)
    for path, volume in volumes:
        name = text(volume, "name")
        if wrong := syntax.dns_label(name) if name else "is missing":
            yield Finding((*path, "name"), wrong)
        yield from one_of(volume, "source", path, set(volume) - {"name"})
        empty = mapping(volume, "emptyDir")
        if not text(empty, "medium").startswith("HugePages-"):
            yield from chosen(empty, "medium", ("Memory", "HugePages"), (*path, "emptyDir"))
        limit = empty.get("sizeLimit")
        if limit is not None and ((size := syntax.quantity(limit)) is None or size < 0):
            yield Finding(
                (*path, "emptyDir", "sizeLimit"), f"found {found(limit)}, allowed is a size as 4Gi"
            )
        if "persistentVolumeClaim" in volume and not text(
            volume["persistentVolumeClaim"], "claimName"
        ):
            yield Finding((*path, "persistentVolumeClaim", "claimName"), "is missing")
        for source in PATHS:
            yield from _modes(mapping(volume, source), (*path, source))


def _modes(source: Mapping[str, Any], key: Key) -> Findings:
    """File modes and paths of a volume that is made of files."""
    entries = [((*key, "defaultMode"), number(source, "defaultMode"))]
    entries += [
        ((*path, "mode"), number(item, "mode")) for path, item in rows(source, "items", key)
    ]
    for path, mode in entries:
        if mode is not None and not 0 <= mode <= 0o777:
            yield Finding(path, f"found {mode}, allowed is 0 to 511 (0777 in octal)")
    for path, item in rows(source, "items", key):
        name = text(item, "path")
        if name and (posixpath.isabs(name) or ".." in name.split("/")):
            yield Finding((*path, "path"), "allowed is a path inside the volume, without '..'")


def _containers(pod: Mapping[str, Any], key: Key, claimed: Collection[str]) -> Findings:
    main, initial = rows(pod, "containers", key), rows(pod, "initContainers", key)
    everyone = [*main, *initial]
    yield from repeated(((*path, "name"), text(each, "name")) for path, each in everyone)
    volumes = {*claimed, *(text(volume, "name") for _, volume in rows(pod, "volumes"))}
    for path, container in everyone:
        yield from container_findings(container, path, initial=path[-2] == "initContainers")
        yield from mount_findings(container, path, volumes)
    yield from _ports(pod, main, key)


def _ports(
    pod: Mapping[str, Any], containers: list[tuple[Key, Mapping[str, Any]]], key: Key
) -> Findings:
    """Ports of the machine are the pod's own; so are all, on the network of the machine."""
    ports = [row for path, each in containers for row in rows(each, "ports", path)]
    yield from repeated(((*path, "name"), text(port, "name")) for path, port in ports)
    taken: set[object] = set()
    for path, port in ports:
        number_ = number(port, "hostPort")
        if pod.get("hostNetwork") is True and number_ not in (None, number(port, "containerPort")):
            yield Finding(
                (*path, "hostPort"), "on the machine's network it must equal containerPort"
            )
        where = (number_, text(port, "protocol") or "TCP", text(port, "hostIP"))
        if number_ is not None and where in taken:
            yield Finding((*path, "hostPort"), f"{number_} stands twice, allowed is once")
        taken.add(where)


def _placement(pod: Mapping[str, Any], key: Key) -> Findings:
    yield from syntax.label_findings(texts(pod, "nodeSelector"), (*key, "nodeSelector"))
    for path, toleration in rows(pod, "tolerations", key):
        yield from chosen(toleration, "operator", ("Exists", "Equal", "Lt", "Gt"), path)
        yield from chosen(toleration, "effect", EFFECTS, path)
        if text(toleration, "operator") == "Exists" and text(toleration, "value"):
            yield Finding((*path, "value"), "must be empty where the operator is Exists")
        if not text(toleration, "key") and text(toleration, "operator") != "Exists":
            yield Finding((*path, "operator"), "must be Exists where there is no key")
    for path, spread in rows(pod, "topologySpreadConstraints", key):
        yield from chosen(spread, "whenUnsatisfiable", ("DoNotSchedule", "ScheduleAnyway"), path)
        if (number(spread, "maxSkew") or 0) < 1:
            yield Finding((*path, "maxSkew"), "allowed is at least 1")
