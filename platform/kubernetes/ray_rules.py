"""What KubeRay's operator (v1.7, its feature gates as they are by default) demands of a cluster.

The operator tells of a broken rule only in the object's events, when it is too late to mend it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from packaging.version import InvalidVersion, Version

from covey.platform.errors import Key
from covey.platform.jobfile.words import found
from covey.platform.kubernetes import syntax
from covey.platform.kubernetes.container_rules import (
    chosen,
    env_findings,
    mount_findings,
    resource_findings,
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
from covey.platform.kubernetes.pod_rules import template_findings

Section = Mapping[str, Any]
AUTOSCALER_V2 = "RAY_enable_autoscaler_v2"
START_COMMAND = "KUBERAY_GEN_AUTOSCALER_START_CMD"
START_RESOURCES = ("num-cpus", "num-gpus", "memory", "resources")
GATED = {
    "historyServerOptions": "RayClusterHistoryServer",
    "networkPolicy": "RayClusterNetworkPolicy",
    "tlsOptions": "RayClusterMTLS",
}
SERVICE_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
OWN_VOLUMES = ("ray-logs", "ray-token", "shared-mem")
"""Volumes that the operator adds, some of them only in some cases."""
TOKEN_SINCE = "2.52.0"
KUBERNETES_TOKEN_SINCE = "2.55.0"
GROUP_PRIORITY_SINCE = "2.56.0"


def cluster_findings(cluster: Section, annotations: Mapping[str, str], key: Key) -> Findings:
    """What is wrong with a RayCluster's specification, which stands at `key`.

    `annotations` are those of the whole object, some of which are old ways to set fields.
    """
    for path, group in groups(cluster, key):
        yield from _group(group, path)
        template: Key = (*path, "template")
        yield from template_findings(group.get("template"), template, claimed=OWN_VOLUMES)
    for path, group in rows(cluster, "workerGroupSpecs", key):
        yield from _workers(cluster, group, path)
    workers = rows(cluster, "workerGroupSpecs", key)
    yield from repeated(((*path, "groupName"), text(each, "groupName")) for path, each in workers)
    yield from _head(cluster, (*key, "headGroupSpec"))
    yield from _fault_tolerance(cluster, annotations, key)
    yield from _autoscaler(cluster, key)
    yield from _token(cluster, key)
    for name, gate in GATED.items():
        if cluster.get(name) is not None:
            yield Finding(
                (*key, name), f"needs the operator's feature gate {gate}, which is off by default"
            )


def groups(cluster: Section, key: Key) -> Iterator[tuple[Key, Section]]:
    """The head's group and those of the workers, each with its key."""
    yield (*key, "headGroupSpec"), mapping(cluster, "headGroupSpec")
    yield from rows(cluster, "workerGroupSpecs", key)


def head_env(cluster: Section) -> dict[str, Section]:
    """The environment variables of Ray's container in the head, by name."""
    container = mapping(cluster, "headGroupSpec", "template", "spec", "containers", 0)
    return {text(variable, "name"): variable for _, variable in rows(container, "env")}


def head_env_key(cluster: Section, name: str, key: Key) -> Key:
    """Where that variable stands in the head; `key` is where the cluster stands."""
    pod: Key = (*key, "headGroupSpec", "template", "spec")
    container = mapping(cluster, "headGroupSpec", "template", "spec", "containers", 0)
    places = rows(container, "env", (*pod, "containers", 0))
    return next(path for path, variable in places if text(variable, "name") == name)


def autoscales(cluster: Section) -> bool:
    return cluster.get("enableInTreeAutoscaling") is True


def _autoscales_by_v2(cluster: Section) -> bool:
    return text(mapping(cluster, "autoscalerOptions"), "version") == "v2"


def _v2_by_variable(cluster: Section) -> bool:
    return text(head_env(cluster).get(AUTOSCALER_V2), "value") in ("1", "true")


def _group(group: Section, key: Key) -> Findings:
    start, resources = texts(group, "rayStartParams"), texts(group, "resources")
    given = [name for name in START_RESOURCES if start.get(name)]
    if given and resources:
        message = f"the group's resources are set too, allowed is one of both; remove {given[0]}"
        yield Finding((*key, "rayStartParams", given[0]), message)
    if "labels" in start:
        yield Finding(
            (*key, "rayStartParams", "labels"), "is not supported, use the group's labels"
        )
    yield from syntax.label_findings(texts(group, "labels"), (*key, "labels"))


def _workers(cluster: Section, group: Section, key: Key) -> Findings:
    name = text(group, "groupName")
    if name and (wrong := syntax.label_value(name) or syntax.dns_subdomain(name.lower())):
        yield Finding((*key, "groupName"), wrong)
    # A server fills in what is missing: 0, and no limit.
    low, high = number(group, "minReplicas") or 0, number(group, "maxReplicas")
    for field in ("replicas", "minReplicas", "maxReplicas", "idleTimeoutSeconds"):
        if (value := number(group, field) or 0) < 0:
            yield Finding((*key, field), f"found {value}, allowed is at least 0")
    if high is not None and low > high >= 0:
        yield Finding((*key, "minReplicas"), f"{low} is more than maxReplicas, {high}")
    if autoscales(cluster) and group.get("suspend") is True:
        yield Finding((*key, "suspend"), "a group cannot be suspended while autoscaling is enabled")
    v2 = _autoscales_by_v2(cluster) or _v2_by_variable(cluster)
    for field in ("idleTimeoutSeconds", "priority"):
        if not v2 and number(group, field) is not None and (field[0] == "i" or group[field] != 0):
            yield Finding((*key, field), "needs autoscalerOptions.version v2")
    if number(group, "priority"):
        yield from _needs_ray(cluster, GROUP_PRIORITY_SINCE, (*key, "priority"))
    if autoscales(cluster) and _autoscales_by_v2(cluster):
        yield from never_restarted(group, "with autoscaler v2", key)


def never_restarted(group: Section, when: str, key: Key) -> Findings:
    """The group's pods are not restarted in place; `when` says in which case that must be so."""
    pod = mapping(group, "template", "spec")
    if text(pod, "restartPolicy") not in ("", "Never"):
        message = f"found {found(pod['restartPolicy'])}, allowed is Never or nothing {when}"
        yield Finding((*key, "template", "spec", "restartPolicy"), message)


def _head(cluster: Section, key: Key) -> Findings:
    head = mapping(cluster, "headGroupSpec")
    yield from chosen(head, "serviceType", SERVICE_TYPES, key)
    if not mapping(head, "template", "spec", "containers", 0):
        yield Finding((*key, "template", "spec", "containers"), "is missing: the head has one")
    if autoscales(cluster):
        yield from own_container(head, "autoscaler", "while autoscaling is enabled", key)
        if _autoscales_by_v2(cluster):
            yield from never_restarted(head, "with autoscaler v2", key)


def own_container(group: Section, name: str, when: str, key: Key) -> Findings:
    """No container is named like one that the operator adds."""
    pod: Key = (*key, "template", "spec")
    for path, container in rows(mapping(group, "template", "spec"), "containers", pod):
        if text(container, "name") == name:
            yield Finding((*path, "name"), f"{name} is the operator's own {when}")


def _fault_tolerance(cluster: Section, annotations: Mapping[str, str], key: Key) -> Findings:
    options, env = mapping(cluster, "gcsFaultToleranceOptions"), head_env(cluster)
    start = texts(mapping(cluster, "headGroupSpec"), "rayStartParams")
    start_key: Key = (*key, "headGroupSpec", "rayStartParams")
    instead = "is set elsewhere already, set gcsFaultToleranceOptions.{} alone"
    if cluster.get("gcsFaultToleranceOptions") is not None:
        old = {
            "ray.io/ft-enabled": "is replaced by gcsFaultToleranceOptions, which is set",
            "ray.io/external-storage-namespace": instead.format("externalStorageNamespace"),
        }
        for name in (name for name in old if annotations.get(name)):
            yield Finding(("metadata", "annotations", name), old[name])
        if start.get("redis-password"):
            yield Finding((*start_key, "redis-password"), instead.format("redisPassword"))
        for name, field in (
            ("REDIS_PASSWORD", "redisPassword"),
            ("RAY_REDIS_ADDRESS", "redisAddress"),
        ):
            if name in env:
                yield Finding(head_env_key(cluster, name, key), instead.format(field))
        yield from _backend(options, (*key, "gcsFaultToleranceOptions"))
    elif "RAY_REDIS_ADDRESS" in env and annotations.get("ray.io/ft-enabled", "").lower() != "true":
        message = "turns fault tolerance on, set gcsFaultToleranceOptions for that"
        yield Finding(head_env_key(cluster, "RAY_REDIS_ADDRESS", key), message)
    if start.get("redis-username"):
        yield Finding((*start_key, "redis-username"), instead.format("redisUsername"))
    if "REDIS_USERNAME" in env:
        yield Finding(head_env_key(cluster, "REDIS_USERNAME", key), instead.format("redisUsername"))


def _backend(options: Section, key: Key) -> Findings:
    if text(options, "backend") == "rocksdb":
        message = "rocksdb needs the feature gate GCSFaultToleranceEmbeddedStorage, off by default"
        yield Finding((*key, "backend"), message)
    elif options.get("storage") is not None:
        yield Finding((*key, "storage"), "goes with the backend rocksdb, not with redis")


def _autoscaler(cluster: Section, key: Key) -> Findings:
    options, path = mapping(cluster, "autoscalerOptions"), (*key, "autoscalerOptions")
    if (idle := number(options, "idleTimeoutSeconds") or 0) < 0:
        yield Finding((*path, "idleTimeoutSeconds"), f"found {idle}, allowed is at least 0")
    for place, variable in rows(options, "env", path):
        if text(variable, "name") == START_COMMAND:
            yield Finding((*place, "name"), f"{START_COMMAND} is set by the operator")
    if AUTOSCALER_V2 in head_env(cluster):
        variable_key = head_env_key(cluster, AUTOSCALER_V2, key)
        if autoscales(cluster) and text(options, "version"):
            yield Finding(variable_key, "autoscalerOptions.version is set too, use that alone")
        elif not autoscales(cluster) and _v2_by_variable(cluster):
            yield Finding(variable_key, "needs enableInTreeAutoscaling: true")
    yield from chosen(options, "upscalingMode", ("Default", "Aggressive", "Conservative"), path)
    yield from env_findings(options, path)
    yield from resource_findings(mapping(options, "resources"), (*path, "resources"))
    volumes = rows(mapping(cluster, "headGroupSpec", "template", "spec"), "volumes")
    known = [*OWN_VOLUMES, *(text(volume, "name") for _, volume in volumes)]
    yield from mount_findings(options, path, known)


def _token(cluster: Section, key: Key) -> Findings:
    options, path = mapping(cluster, "authOptions"), (*key, "authOptions")
    by_kubernetes = options.get("enableK8sTokenAuth") is True
    if text(options, "mode") == "token":
        yield from _needs_ray(cluster, TOKEN_SINCE, (*path, "mode"))
        if by_kubernetes:
            yield from _needs_ray(cluster, KUBERNETES_TOKEN_SINCE, (*path, "enableK8sTokenAuth"))
            if text(options, "secretName"):
                yield Finding((*path, "secretName"), "goes without enableK8sTokenAuth only")
    elif by_kubernetes:
        yield Finding((*path, "enableK8sTokenAuth"), "needs authOptions.mode: token")


def _needs_ray(cluster: Section, since: str, key: Key) -> Findings:
    version = text(cluster, "rayVersion")
    if not version:
        yield Finding(key, f"needs rayVersion {since} or later, but no rayVersion is set")
        return
    try:
        if Version(version) < Version(since):
            yield Finding(key, f"needs rayVersion {since} or later, found {version}")
    except InvalidVersion:
        yield Finding(key, f"needs rayVersion {since} or later, found {found(version)}")
