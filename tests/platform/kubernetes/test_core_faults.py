"""Faults planted in Kubernetes' own kinds, each found in its place and alone."""

import json

import kubernetes_validate
import pytest

from covey.platform.kubernetes.core_kinds import core_kinds

from .conftest import ABSENT, Plant, assert_only_fault, good, planted

POD = "spec.template.spec"
CONTAINER = f"{POD}.containers[0]"
PORTS = [{"port": 1}, {"port": 2, "name": "b"}]
OTHER_PEER = {"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}

SCHEMA = [
    Plant("Deployment", "spec.replica", 2, "did you mean replicas"),
    Plant("Deployment", "spec.replicas", "2", "allowed is a whole number"),
    Plant("Deployment", "spec.template", ABSENT, "is missing"),
    Plant("Deployment", f"{CONTAINER}.ports[0].containerPort", ABSENT, "is missing"),
    Plant("Deployment", f"{CONTAINER}.livenessProbe.httpGet.prot", 1, "did you mean port"),
    Plant("Deployment", f"{CONTAINER}.args", "scheduler", "allowed is a list"),
    Plant("Deployment", "apiVersion", "apps/v2", "Deployment exists as v1"),
    Plant("Deployment", "apiVersion", "v1", "Deployment is of apps/v1"),
    Plant("Deployment", "kind", "Deploymnt", "did you mean Deployment"),
    Plant("Service", "spec.ports[0].port", "80", "allowed is a whole number"),
    Plant("ConfigMap", "data.port", 80, "allowed is text"),
    Plant("Secret", "data.TOKEN", "secret!", "no base64"),
    Plant("Role", "rules[0].resource", ["x"], "not known here"),
    Plant("ServiceAccount", "automountServiceAccountToken", "yes", "true or false"),
]
RULES = [
    Plant("Deployment", "metadata.name", ABSENT, "is missing"),
    Plant("Deployment", "metadata.name", "Covey_scheduler", "small letters"),
    Plant("Deployment", "spec.replicas", -1, "at least 0"),
    Plant("Deployment", "spec.strategy.rollingUpdate", {}, "without type: Recreate"),
    Plant("Deployment", "spec.selector.matchLabels.app", "x", "is not what"),
    Plant("Deployment", f"{POD}.restartPolicy", "Never", "one of Always"),
    Plant("Deployment", f"{POD}.terminationGracePeriodSeconds", -1, "at least 0"),
    Plant("Deployment", f"{CONTAINER}.image", ABSENT, "is missing"),
    Plant("Deployment", f"{CONTAINER}.livenessProbe.httpGet.port", "web", "no port of this cont"),
    Plant("Deployment", f"{CONTAINER}.livenessProbe.successThreshold", 2, "allowed is 1"),
    Plant("Deployment", f"{CONTAINER}.startupProbe.exec", {"command": ["x"]}, "one handler"),
    Plant("Deployment", f"{CONTAINER}.envFrom[0].configMapRef", {"name": "x"}, "one source"),
    Plant("Deployment", f"{POD}.volumes[1].configMap.defaultMode", 0o1000, "0 to 511"),
    Plant("Deployment", f"{POD}.volumes[1].configMap.items[0].path", "../x", "inside the volume"),
    Plant("Service", "metadata.name", "1-covey", "first a letter"),
    Plant("Service", "spec.type", "Clusterip", "did you mean ClusterIP"),
    Plant("Service", "spec.ports", ABSENT, "at least one port"),
    Plant("Service", "spec.ports[0].port", 0, "from 1 to 65535"),
    Plant("Service", "spec.ports[0].targetPort", "The_port", "small letters"),
    Plant("Service", "spec.ports[0].nodePort", 30080, "not possible with the type ClusterIP"),
    Plant("Service", "spec.ports", PORTS, "each has a name", "spec.ports[0].name"),
    Plant("ConfigMap", "data.'a/b'", "x", "letters, digits"),
    Plant("ConfigMap", "binaryData", {"scheduler.yaml": "eA=="}, "once", ""),
    Plant("ConfigMap", "data.large", "x" * 2**20, "bytes", "data"),
    Plant("Role", "rules[0].verbs", [], "at least one verb"),
    Plant("Role", "rules[0].apiGroups", [], "is missing"),
    Plant("RoleBinding", "roleRef.kind", "Roles", "did you mean Role"),
    Plant("RoleBinding", "subjects[0].namespace", ABSENT, "is missing"),
    Plant("RoleBinding", "subjects[0].kind", "ServiceAcount", "did you mean ServiceAccount"),
    Plant("NetworkPolicy", "spec.policyTypes[0]", "ingress", "did you mean Ingress"),
    Plant("NetworkPolicy", "spec.egress[0].to[0].ipBlock.cidr", "10.0.0.0", "such as 10.0.0.0/8"),
    Plant("NetworkPolicy", "spec.egress[0].to[0].ipBlock.except[0]", "11.0.0.0/8", "inside"),
    Plant("NetworkPolicy", "spec.egress[0].to[0]", {}, "is empty"),
    Plant("NetworkPolicy", "spec.egress[0].to[0].podSelector", {}, "without podSelector", ""),
    Plant("NetworkPolicy", "spec.egress[0].ports[0].endPort", 6378, "no higher"),
    Plant("PersistentVolumeClaim", "spec.accessModes", [], "at least one"),
    Plant("PersistentVolumeClaim", "spec.accessModes[0]", "ReadWrite", "one of ReadWriteOnce"),
    Plant("PersistentVolumeClaim", "spec.resources.requests.storage", "10 GB", "such as 10Gi"),
    Plant("PriorityClass", "value", 2_000_000_000, "at most 1000000000"),
    Plant("PriorityClass", "metadata.namespace", "x", "in no namespace"),
    Plant("Job", f"{POD}.restartPolicy", ABSENT, "one of Never, OnFailure"),
    Plant("Job", "spec.completionMode", "Indexed", "is missing", "spec.completions"),
    Plant("CronJob", "spec.schedule", "30 2 * *", "five fields"),
    Plant("CronJob", "metadata.name", "x" * 53, "allowed are 52"),
    Plant("StatefulSet", f"{CONTAINER}.volumeMounts[0].name", "dat", "did you mean data"),
]
PATHS = {
    "binaryData": "binaryData.scheduler.yaml",
    "spec.egress[0].to[0].podSelector": "spec.egress[0].to[0].ipBlock",
}


@pytest.mark.parametrize("plant", [*SCHEMA, *RULES], ids=str)
def test_a_fault_is_found(plant: Plant) -> None:
    path = "binaryData.'scheduler.yaml'" if plant.at == "binaryData" else PATHS.get(plant.at, "")
    assert_only_fault(plant._replace(path=plant.path or path), None)


@pytest.mark.parametrize("plant", SCHEMA[::2], ids=str)
def test_the_library_itself_refuses_what_our_reading_of_its_schemas_does(plant: Plant) -> None:
    with pytest.raises(
        (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError)
    ):
        kubernetes_validate.validate(json.loads(planted(plant)), "1.37", strict=True)


def test_the_library_itself_takes_the_good_ones() -> None:
    own = {kind: text for kind, text in good().items() if not kind.startswith("Ray")}
    assert len(own) >= 12
    for text in own.values():
        kubernetes_validate.validate(json.loads(text), "1.37", strict=True)


def test_the_newest_schemas_are_taken() -> None:
    assert core_kinds().version == kubernetes_validate.utils.latest_version()
