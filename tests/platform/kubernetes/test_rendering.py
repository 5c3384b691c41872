"""Manifests of job files: what is in them, and what cannot be rendered."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from covey.platform.errors import UserError
from covey.platform.jobfile.load import load_job_file, parse_job_file
from covey.platform.kubernetes.checking import check
from covey.platform.kubernetes.rendering import render

from .conftest import CRDS

RAY_TARGETS = ("rayjob", "raycluster")
JOB: dict[str, Any] = {"name": "toy", "workload": "toy", "stop": {"env_steps": 10}}


@pytest.fixture
def rendered(toy_path, tmp_path):
    def documents(target="rayjob", **keys):
        return list(yaml.safe_load_all(render(parse_job_file({**JOB, **keys}, tmp_path), target)))

    return documents


def pods_of(spec):
    groups = [spec["headGroupSpec"], *spec.get("workerGroupSpecs", [])]
    return [group["template"]["spec"] for group in groups]


def test_a_job_on_one_pod(rendered):
    files, job = rendered(resources={"cpus": 3, "gpus": 1})
    assert (files["kind"], job["kind"]) == ("ConfigMap", "RayJob")
    assert yaml.safe_load(files["data"]["job.yaml"])["resources"] == {"cpus": 3, "gpus": 1}
    spec = job["spec"]
    assert spec["entrypoint"].endswith("/covey/runs/toy --job /etc/covey/job.yaml")
    assert spec["backoffLimit"] == 2  # three attempts
    (head,) = pods_of(spec["rayClusterSpec"])
    limits = head["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "3", "memory": "8Gi", "nvidia.com/gpu": 1}
    shm = next(volume for volume in head["volumes"] if volume["name"] == "shm")
    assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}
    assert "suspend" not in spec and "enableInTreeAutoscaling" not in spec["rayClusterSpec"]


def test_a_jobs_cores_are_spread_over_pods_which_may_become_more(rendered):
    _, job = rendered(resources={"cpus": 5}, kubernetes={"pod_cpus": 2, "max_pods": 6})
    cluster = job["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    assert [workers[f"{end}Replicas"] for end in ("min", "max")] == [2, 5]
    assert cluster["enableInTreeAutoscaling"]
    assert cluster["autoscalerOptions"]["version"] == "v2"
    assert {pod["restartPolicy"] for pod in pods_of(cluster)} == {"Never"}
    # Only the autoscaler speaks with the cluster.
    assert [pod["automountServiceAccountToken"] for pod in pods_of(cluster)] == [True, False]


def test_a_job_that_waits_in_a_queue(rendered):
    _, job = rendered(kubernetes={"queue": "team", "priority_class": "high", "namespace": "lab"})
    labels = job["metadata"]["labels"]
    assert labels["kueue.x-k8s.io/queue-name"] == "team"
    assert labels["kueue.x-k8s.io/priority-class"] == "high"
    assert job["metadata"]["namespace"] == "lab"
    assert job["spec"]["suspend"] is True
    # Pods with the label would be queued once more, each for itself.
    for pod in (
        job["spec"]["submitterPodTemplate"],
        job["spec"]["rayClusterSpec"]["headGroupSpec"],
    ):
        assert "kueue" not in str(pod)


def test_a_standing_cluster(rendered):
    _, cluster = rendered("raycluster", resources={"cpus": 4}, kubernetes={"pod_cpus": 1})
    assert cluster["kind"] == "RayCluster"
    assert cluster["spec"]["workerGroupSpecs"][0]["replicas"] == 3
    assert cluster["spec"]["authOptions"] == {"mode": "token"}


@pytest.mark.parametrize("target", RAY_TARGETS)
def test_every_pod_is_locked_down(rendered, target):
    (kind,) = [
        document
        for document in rendered(target, kubernetes={"max_pods": 3})
        if document["kind"] != "ConfigMap"
    ]
    pods = pods_of(kind["spec"].get("rayClusterSpec", kind["spec"]))
    if target == "rayjob":
        pods.append(kind["spec"]["submitterPodTemplate"]["spec"])
    scaler = kind["spec"].get("rayClusterSpec", kind["spec"])["autoscalerOptions"]
    assert len(pods) == {"rayjob": 3, "raycluster": 2}[target]
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    for container in [scaler, *(one for pod in pods for one in pod["containers"])]:
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["resources"]["requests"] == container["resources"]["limits"]


def test_code_goes_along(rendered, tmp_path):
    code = tmp_path / "mine"
    (code / "pack").mkdir(parents=True)
    (code / "pack" / "env.py").write_text("pass\n")
    (code / "weights.bin").write_bytes(b"\xff\x00")
    (code / "__pycache__").mkdir()
    (code / "__pycache__" / "old.pyc").write_bytes(b"\x00")
    files, job = rendered(code="mine")
    assert yaml.safe_load(files["data"]["job.yaml"])["code"] == "code-mine"
    (head,) = pods_of(job["spec"]["rayClusterSpec"])
    (volume,) = [volume for volume in head["volumes"] if volume["name"] == "job"]
    paths = {item["path"]: item["key"] for item in volume["configMap"]["items"]}
    assert set(paths) == {"job.yaml", "code-mine/pack/env.py", "code-mine/weights.bin"}
    assert files["data"][paths["code-mine/pack/env.py"]] == "pass\n"
    assert files["binaryData"] == {paths["code-mine/weights.bin"]: "/wA="}


KEYS = {"secrets": ["s3-keys", "ca.team-a"], "service_account": "trainer"}


@pytest.mark.parametrize("target", RAY_TARGETS)
def test_pods_that_train_have_the_credentials_of_a_store(rendered, target):
    kubernetes = {"pod_cpus": 1, "max_pods": 3, **KEYS}
    files, kind = rendered(target, resources={"cpus": 2}, kubernetes=kubernetes)
    pods = pods_of(kind["spec"].get("rayClusterSpec", kind["spec"]))
    assert len(pods) == 2
    for pod in pods:
        assert pod["serviceAccountName"] == "trainer"
        assert pod["containers"][0]["envFrom"] == [
            {"secretRef": {"name": "s3-keys"}},
            {"secretRef": {"name": "ca.team-a"}},
        ]
    assert pods[1]["automountServiceAccountToken"] is False
    # Who only hands the job over needs neither; and the job in the pod does not know of them.
    assert "s3-keys" not in str(kind["spec"].get("submitterPodTemplate")) + str(files)
    assert "trainer" not in str(kind["spec"].get("submitterPodTemplate"))
    crds = CRDS if CRDS.is_dir() else None
    assert check(yaml.safe_dump_all([files, kind]), crds) == []


def test_without_them_a_pod_names_none(rendered):
    _, job = rendered()
    (head,) = pods_of(job["spec"]["rayClusterSpec"])
    assert "serviceAccountName" not in head and "envFrom" not in head["containers"][0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"secrets": []},
        {"secrets": ["Keys"]},
        {"secrets": ["a..b"]},
        {"secrets": ["x" * 254]},
        {"secrets": {"AWS_SECRET_ACCESS_KEY": "abc"}},
        {"service_account": "a_b"},
    ],
)
def test_names_that_no_secret_or_account_can_have(rendered, wrong):
    (key,) = wrong
    with pytest.raises(UserError, match=f"kubernetes.{key}"):
        rendered(kubernetes=wrong)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"name": "7toy"}, "name: 7toy begins with a digit"),
        ({"resources": {"gpus": 0.5}}, "resources.gpus: a pod has whole GPUs, .* use 1"),
        (
            {"kubernetes": {"memory": "1Gi", "shared_memory": "2Gi"}},
            "kubernetes.shared_memory: 2Gi must be less",
        ),
        (
            {"resources": {"cpus": 9}, "kubernetes": {"pod_cpus": 2, "max_pods": 4}},
            r"kubernetes.max_pods: the job's 9 CPUs are 5 pods of 2, and 4 are allowed",
        ),
        ({"kubernetes": {"queue": "q", "max_pods": 4}}, "kubernetes.max_pods: a job in a Kueue"),
        ({"kubernetes": {"priority_class": "high"}}, "kubernetes.priority_class: is Kueue's"),
    ],
)
def test_what_cannot_be_rendered(rendered, keys, said):
    with pytest.raises(UserError, match=said):
        rendered(**keys)


def test_more_code_than_can_be_sent(rendered, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "data.bin").write_bytes(bytes(800_000))
    with pytest.raises(UserError, match=f"{Path('mine')} holds more than the 700,000 bytes"):
        rendered(code="mine")


JOBS = sorted((Path(__file__).parents[3] / "deploy" / "jobs").glob("*.yaml"))


@pytest.mark.parametrize("file", JOBS[::2], ids=lambda file: file.stem)
def test_job_files_to_copy_pass_the_check(file):
    crds = CRDS if CRDS.is_dir() else None
    assert len(JOBS) > 20
    for target in RAY_TARGETS:
        assert check(render(load_job_file(file), target), crds) == []
    grown = load_job_file(file, ["resources.cpus=7", "kubernetes={pod_cpus: 2, max_pods: 9}"])
    assert check(render(grown, "rayjob"), crds) == []
