"""What an API server demands of an object's `metadata`, whatever its kind."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from covey.platform.errors import Key
from covey.platform.kubernetes import syntax
from covey.platform.kubernetes.faults import Finding, Findings, mapping, text, texts

MAX_RAY_CLUSTER_NAME = 53
MAX_RAY_JOB_NAME = 47
"""Its cluster is named after it, with six characters more."""
NAMES: Mapping[str, Callable[[str], str | None]] = {
    "RayCluster": partial(syntax.dns_label_1035, longest=MAX_RAY_CLUSTER_NAME),
    "RayJob": partial(syntax.dns_label_1035, longest=MAX_RAY_JOB_NAME),
    "CronJob": partial(syntax.dns_subdomain, longest=52),
    "Job": partial(syntax.dns_subdomain, longest=63),
    "StatefulSet": syntax.dns_label,
    "Service": syntax.dns_label_1035,
    "Namespace": syntax.dns_label,
    "Role": syntax.path_segment,
    "RoleBinding": syntax.path_segment,
    "ClusterRole": syntax.path_segment,
    "ClusterRoleBinding": syntax.path_segment,
}
WITHOUT_NAMESPACE = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "IngressClass",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PriorityClass",
    "RuntimeClass",
    "StorageClass",
}


def metadata_findings(data: Mapping[str, Any]) -> Findings:
    """What is wrong with the metadata of a whole object."""
    kind, metadata = text(data, "kind"), mapping(data, "metadata")
    yield from _name_findings(kind, metadata)
    if namespace := text(metadata, "namespace"):
        if kind in WITHOUT_NAMESPACE:
            yield Finding(("metadata", "namespace"), f"a {kind} is in no namespace")
        elif wrong := syntax.dns_label(namespace):
            yield Finding(("metadata", "namespace"), wrong)
    yield from described(metadata, ("metadata",))


def _name_findings(kind: str, metadata: Mapping[str, Any]) -> Findings:
    name = text(metadata, "name")
    if name:
        if wrong := NAMES.get(kind, syntax.dns_subdomain)(name):
            yield Finding(("metadata", "name"), wrong)
    elif not text(metadata, "generateName"):
        yield Finding(("metadata", "name"), "is missing")


def described(metadata: Mapping[str, Any], key: Key) -> Findings:
    """Labels and annotations, of an object or of a pod template; `key` is where they stand."""
    yield from syntax.label_findings(texts(metadata, "labels"), (*key, "labels"))
    yield from syntax.annotation_findings(texts(metadata, "annotations"), (*key, "annotations"))
