"""Pods as all manifests of ours have them: no root, no rights, nothing to write but volumes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Manifest = dict[str, Any]
USER = 1000
"""The image's user and group, which also owns what a claim's pods write."""
GPU = "nvidia.com/gpu"


def resources(cpus: float, memory: str, gpus: int = 0) -> Manifest:
    """Requests that are also the limits: nothing else on the node takes what a job was given."""
    amounts = {"cpu": cores(cpus), "memory": memory} | ({GPU: gpus} if gpus else {})
    return {"requests": dict(amounts), "limits": dict(amounts)}


def cores(cpus: float) -> str:
    """As a quantity: whole cores, or thousandths of one."""
    return str(int(cpus)) if cpus == int(cpus) else f"{math.ceil(cpus * 1000)}m"


def locked_down() -> Manifest:
    """A container's security context."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container(
    name: str,
    image: str,
    takes: Manifest,
    mounts: Mapping[str, str],
    environment: Mapping[str, str],
    read_only: Sequence[str] = (),
    **more: Any,
) -> Manifest:
    """`mounts`: paths by volume; those of the volumes named in `read_only` cannot be written."""
    return {
        "name": name,
        "image": image,
        **more,
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "resources": takes,
        "securityContext": locked_down(),
        "volumeMounts": [
            {"name": volume, "mountPath": path}
            | ({"readOnly": True} if volume in read_only else {})
            for volume, path in mounts.items()
        ],
    }


def template(
    labels: Mapping[str, str],
    containers: Sequence[Manifest],
    volumes: Sequence[Manifest],
    *,
    restart: str,
    knows_cluster: bool = False,
) -> Manifest:
    """A pod template. `knows_cluster`: something in it speaks with the cluster's API."""
    return {
        "metadata": {"labels": dict(labels)},
        "spec": {
            "automountServiceAccountToken": knows_cluster,
            "restartPolicy": restart,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": list(containers),
            "volumes": list(volumes),
        },
    }


def scratch(name: str, size: str, in_memory: bool = False) -> Manifest:
    """A volume that begins empty and ends with its pod."""
    kind: Manifest = {"medium": "Memory"} if in_memory else {}
    return {"name": name, "emptyDir": kind | {"sizeLimit": size}}
