"""Who reaches whom in a federation on sites (`sites`): a service, and policies that allow two ways.

SuperNodes reach the gate, the job reaches the SuperLink, both ask for names; nothing else.
"""

from covey.platform.jobfile.model import JobFile
from covey.platform.kubernetes.pods import Manifest
from covey.platform.kubernetes.ray_kinds import labels_of, section_of

SUPERLINK_PORT, GATE_PORT = 9091, 9092
WAYS = {"supernode": GATE_PORT, "job": SUPERLINK_PORT}
"""The SuperLink's ports by who may reach them."""
PART = "app.kubernetes.io/component"


def superlink_of(job: JobFile) -> str:
    """The name of its service, and of its Deployment."""
    return f"{job.name}-superlink"


def part_labels(job: JobFile, part: str) -> dict[str, str]:
    """Of the pods that are the superlink, a supernode or the job."""
    return labels_of(job) | {PART: part}


def metadata_of(job: JobFile, name: str) -> Manifest:
    """Of an object of the job's."""
    return {"name": name, "namespace": section_of(job).namespace, "labels": labels_of(job)}


def service(job: JobFile) -> Manifest:
    """How SuperNodes and the job find the SuperLink."""
    ports = [
        {"name": name, "port": port, "targetPort": port, "protocol": "TCP"}
        for name, port in (("superlink", SUPERLINK_PORT), ("supernodes", GATE_PORT))
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata_of(job, superlink_of(job)),
        "spec": {"selector": part_labels(job, "superlink"), "ports": ports},
    }


def policies(job: JobFile) -> list[Manifest]:
    """Nobody reaches anybody, but on these ways."""
    ingress = [{"from": [_pods(job, part)], "ports": [_tcp(port)]} for part, port in WAYS.items()]
    return [
        _policy(job, "nobody", labels_of(job), {"policyTypes": ["Ingress", "Egress"]}),
        _policy(
            job,
            "superlink",
            part_labels(job, "superlink"),
            {"policyTypes": ["Ingress"], "ingress": ingress},
        ),
        *(
            _policy(
                job,
                part,
                part_labels(job, part),
                {"policyTypes": ["Egress"], "egress": [_there(job, port), _names()]},
            )
            for part, port in WAYS.items()
        ),
    ]


def _there(job: JobFile, port: int) -> Manifest:
    return {"to": [_pods(job, "superlink")], "ports": [_tcp(port)]}


def _names() -> Manifest:
    """To the cluster's name server."""
    selector = {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
    ports = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    return {"to": [{"namespaceSelector": selector}], "ports": ports}


def _pods(job: JobFile, part: str) -> Manifest:
    return {"podSelector": {"matchLabels": part_labels(job, part)}}


def _tcp(port: int) -> Manifest:
    return {"port": port, "protocol": "TCP"}


def _policy(job: JobFile, name: str, selects: dict[str, str], rules: Manifest) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata_of(job, f"{job.name}-{name}"),
        "spec": {"podSelector": {"matchLabels": selects}, **rules},
    }
