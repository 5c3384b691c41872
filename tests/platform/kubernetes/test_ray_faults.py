"""Faults planted in a RayJob and a RayCluster, each found in its place and alone."""

import pytest

from covey.platform.kubernetes.checking import check

from .conftest import ABSENT, CRDS, MANIFESTS, Plant, assert_only_fault, needs_crds

CLUSTER = "spec.rayClusterSpec"
HEAD = f"{CLUSTER}.headGroupSpec"
POD = f"{HEAD}.template.spec"
RAY = f"{POD}.containers[0]"
GROUP = f"{CLUSTER}.workerGroupSpecs[0]"
GPU_POD = f"{CLUSTER}.workerGroupSpecs[1].template.spec"
GPU = f"{GPU_POD}.containers[0]"
CONTAINER = {"name": "ray", "image": "busybox:1.37"}


def job(at: str, value: object, words: str, path: str = "") -> Plant:
    return Plant("RayJob", at, value, words, path)


def cluster(at: str, value: object, words: str, path: str = "") -> Plant:
    return Plant("RayCluster", at, value, words, path)


SCHEMA = [
    job("spec.bogus", 1, "not known here"),
    job("spec.shutdownAfterJobFinish", True, "did you mean shutdownAfterJobFinishes"),
    job(f"{GROUP}.minReplica", 1, "not known here"),
    job(f"{RAY}.volumeMount", [], "not known here"),
    job(f"{RAY}.securityContext.readOnlyRootFileSystem", True, "not known here"),
    job("spec.backoffLimit", "2", "found '2', allowed is a whole number"),
    job("spec.backoffLimit", 2**31, "at most 2147483647"),
    job("spec.shutdownAfterJobFinishes", "true", "allowed is true or false"),
    job("spec.entrypoint", ["python"], "found a list, allowed is text"),
    job(f"{CLUSTER}.rayVersion", 2.55, "allowed is text"),
    job(f"{CLUSTER}.workerGroupSpecs", {}, "allowed is a list"),
    job(f"{CLUSTER}.autoscalerOptions.version", "v3", "allowed is one of v1, v2"),
    job(f"{CLUSTER}.authOptions.mode", "tokens", "did you mean token"),
    job(f"{GROUP}.groupName", ABSENT, "is missing"),
    job(f"{HEAD}.rayStartParams.num-cpus", 0, "found 0, allowed is text"),
    job(f"{RAY}.env[0].value", 1, "allowed is text"),
    job(f"{RAY}.env[0].value", True, "found true, allowed is text"),
    job(f"{RAY}.ports[0].containerPort", "6379", "allowed is a whole number"),
    job(
        f"{RAY}.ports[2]", {"containerPort": 6379}, "stands twice", f"{RAY}.ports[2].containerPort"
    ),
    job(f"{RAY}.resources.limits.memory", "4 Gi", "a quantity such as"),
    job("spec.managedBy", "somebody", "must be either 'ray.io/kuberay-operator'"),
    job(
        "spec.deletionStrategy",
        {"onSuccess": {"policy": "DeleteSelf"}},
        "requires either BOTH onSuccess and onFailure",
    ),
    cluster("spec.gcsFaultToleranceOptions.backend", "etcd", "allowed is one of redis, rocksdb"),
    cluster("spec.upgradeStrategy.type", "Rolling", "allowed is one of Recreate, None"),
    cluster(
        "spec.gcsFaultToleranceOptions.redisPassword.valueFrom.secretKeyRef.keys", [], "not known"
    ),
]
RULES = [
    job("metadata.name", "x" * 48, "48 characters, allowed are 47"),
    job("metadata.name", "Cartpole", "small letters"),
    job("metadata.name", "1-cartpole", "first a letter"),
    job("metadata.nam", "x", "did you mean"),
    job("metadata.labels.'a b'", "x", "letters, digits"),
    job("metadata.labels.app", "x" * 64, "64 characters, allowed are 63"),
    job("metadata.annotations.app", "x" * 2**18, "bytes in all", "metadata.annotations"),
    job("metadata.namespace", "Training", "small letters"),
    job("spec.submissionMode", "BadMode", "allowed is one of K8sJobMode, HTTPMode"),
    job("spec.activeDeadlineSeconds", 0, "at least 1"),
    job("spec.preRunningDeadlineSeconds", -1, "at least 1"),
    job("spec.backoffLimit", -1, "at least 0"),
    job("spec.ttlSecondsAfterFinished", -1, "at least 0"),
    job("spec.runtimeEnvYAML", "env_vars: [", "is not YAML"),
    job("spec.runtimeEnvYAML", "- pip", "found a list, allowed is a mapping"),
    job("spec.submitterPodTemplate.spec.restartPolicy", ABSENT, "Never, OnFailure"),
    job("spec.submitterPodTemplate.spec.restartPolicy", "Always", "Never, OnFailure"),
    job("spec.rayClusterSpec", ABSENT, "rayClusterSpec or clusterSelector"),
    job(
        "spec.clusterSelector", {"name": "x"}, "is missing", "spec.clusterSelector.'ray.io/cluster'"
    ),
    job(f"{CLUSTER}.upgradeStrategy.type", "Recreate", "not supported for the cluster of a RayJob"),
    job(f"{CLUSTER}.rayVersion", "2.51.0", "2.52.0 or later", f"{CLUSTER}.authOptions.mode"),
    job(f"{CLUSTER}.rayVersion", ABSENT, "no rayVersion is set", f"{CLUSTER}.authOptions.mode"),
    job(f"{CLUSTER}.authOptions.enableK8sTokenAuth", True, "not supported for a RayJob"),
    job(f"{CLUSTER}.networkPolicy", {}, "RayClusterNetworkPolicy, which is off"),
    job(f"{CLUSTER}.autoscalerOptions.idleTimeoutSeconds", -1, "at least 0"),
    job(f"{HEAD}.rayStartParams.labels", "a=b", "use the group's labels"),
    job(f"{HEAD}.resources", {"CPU": "1"}, "one of both", f"{HEAD}.rayStartParams.num-cpus"),
    job(f"{HEAD}.serviceType", "Clusterip", "did you mean ClusterIP"),
    job(f"{POD}.restartPolicy", "Always", "Never or nothing with autoscaler v2"),
    job(f"{POD}.containers", [], "is missing"),
    job(f"{RAY}.name", "autoscaler", "the operator's own"),
    job(f"{GROUP}.minReplicas", 5, "5 is more than maxReplicas, 4"),
    job(f"{GROUP}.maxReplicas", -1, "at least 0"),
    job(f"{GROUP}.suspend", True, "while autoscaling is enabled"),
    job(f"{GROUP}.priority", 1, "2.56.0 or later, found 2.55.1"),
    job(
        f"{GROUP}.groupName", "learners", "stands twice", f"{CLUSTER}.workerGroupSpecs[1].groupName"
    ),
    job(f"{GROUP}.groupName", "the samplers", "letters, digits"),
    job(f"{GROUP}.template.spec.restartPolicy", "OnFailure", "Never or nothing"),
    job(f"{CLUSTER}.autoscalerOptions.version", "v1", "version v2", f"{GROUP}.idleTimeoutSeconds"),
    job(f"{RAY}.image", ABSENT, "is missing"),
    job(f"{RAY}.imagePullPolicy", "Sometimes", "Always, IfNotPresent, Never"),
    job(f"{POD}.containers[1]", CONTAINER, "'?ray'? stands twice", f"{POD}.containers[1].name"),
    job(f"{POD}.initContainers", [CONTAINER], "stands twice", f"{POD}.initContainers[0].name"),
    job(f"{RAY}.name", "Ray_head", "small letters"),
    job(f"{RAY}.env[1].value", "x", "either value or valueFrom", f"{RAY}.env[1].valueFrom"),
    job(f"{RAY}.env[1].valueFrom", {}, "no source"),
    job(f"{RAY}.env[2]", {"name": "COVEY_HOME"}, "stands twice", f"{RAY}.env[2].name"),
    job(f"{RAY}.ports[1].containerPort", 65536, "from 1 to 65535"),
    job(f"{RAY}.ports[1].name", "gcs", "stands twice"),
    job(f"{RAY}.ports[1].name", "the-dashboard-of-ray", "allowed are 15"),
    job(f"{RAY}.ports[1].protocol", "HTTP", "TCP, UDP, SCTP"),
    job(f"{RAY}.resources.requests.cpu", 3, "asks for 3, but the limit is 2"),
    job(f"{RAY}.resources.limits.cpus", "1", "did you mean cpu"),
    job(f"{RAY}.resources.limits.memory", "-1", "at least 0"),
    job(f"{GPU}.resources.requests.'nvidia.com/gpu'", 0, "must equal the limit 1"),
    job(f"{GPU}.resources.limits.'nvidia.com/gpu'", "500m", "a whole number"),
    job(f"{RAY}.securityContext.privileged", True, "allowPrivilegeEscalation is false"),
    job(f"{RAY}.readinessProbe.httpGet", {"port": 80}, "one handler"),
    job(f"{RAY}.readinessProbe.exec", ABSENT, "no handler", f"{RAY}.readinessProbe"),
    job(f"{RAY}.volumeMounts[0].name", "shared-memori", "did you mean shared-memory"),
    job(f"{RAY}.volumeMounts[1].mountPath", "/dev/shm", "stands twice"),
    job(f"{POD}.volumes[0].emptyDir.medium", "memory", "did you mean Memory"),
    job(f"{POD}.volumes[0].hostPath", {"path": "/x"}, "one source"),
    job(f"{POD}.volumes[1].persistentVolumeClaim", ABSENT, "no source", f"{POD}.volumes[1]"),
    job(
        f"{POD}.volumes[2]",
        {"name": "work", "emptyDir": {}},
        "stands twice",
        f"{POD}.volumes[2].name",
    ),
    job(f"{POD}.securityContext.runAsUser", 0, "runAsNonRoot"),
    job(f"{POD}.serviceAccountName", "Covey", "small letters"),
    job(f"{POD}.dnsPolicy", "Cluster", "did you mean"),
    job(f"{GROUP}.template.spec.tolerations[0].value", "x", "must be empty"),
    job(f"{GROUP}.template.spec.tolerations[0].effect", "NoStart", "one of NoSchedule"),
    cluster("metadata.name", "x" * 54, "allowed are 53"),
    cluster("metadata.annotations.'ray.io/ft-enabled'", "true", "replaced by"),
    cluster("spec.gcsFaultToleranceOptions.backend", "rocksdb", "off by default"),
    cluster("spec.gcsFaultToleranceOptions.storage", {"size": "1Gi"}, "backend rocksdb"),
    cluster("spec.workerGroupSpecs[0].idleTimeoutSeconds", 60, "autoscalerOptions.version v2"),
    cluster("spec.headGroupSpec.rayStartParams.redis-password", "x", "redisPassword alone"),
    cluster(
        "spec.headGroupSpec.template.spec.containers[0].env",
        [{"name": "REDIS_USERNAME", "value": "x"}],
        "redisUsername alone",
        "spec.headGroupSpec.template.spec.containers[0].env[0]",
    ),
    cluster(
        "spec.headGroupSpec.template.spec.containers[0].env",
        [{"name": "RAY_enable_autoscaler_v2", "value": "1"}],
        "needs enableInTreeAutoscaling: true",
        "spec.headGroupSpec.template.spec.containers[0].env[0]",
    ),
    cluster("spec.authOptions.enableK8sTokenAuth", True, "needs authOptions.mode: token"),
]


@needs_crds
@pytest.mark.parametrize("plant", SCHEMA, ids=str)
def test_a_fault_against_the_schema(plant: Plant) -> None:
    assert_only_fault(plant, CRDS)


@needs_crds
@pytest.mark.parametrize("plant", RULES, ids=str)
def test_a_fault_against_a_rule(plant: Plant) -> None:
    assert_only_fault(plant, CRDS)


@pytest.mark.parametrize("plant", RULES, ids=str)
def test_a_fault_against_a_rule_is_found_without_the_definitions(plant: Plant) -> None:
    assert_only_fault(plant, None)


@needs_crds
def test_a_misspelt_required_field_is_one_fault() -> None:
    text = (MANIFESTS / "rayjob.yaml").read_text()
    for right, wrong in (
        ("headGroupSpec", "headGroupSpecs"),
        ("minReplicas: 1", "minReplica: 1"),
        ("containerPort: 6379", "containerport: 6379"),
    ):
        faults = check(text.replace(right, wrong), CRDS)
        assert [f"did you mean {right.split(':')[0]}?" in fault.message for fault in faults] == [
            True
        ] * len(faults)
        assert faults
