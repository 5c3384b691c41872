"""What a RayJob's status means, how attempts are named, and how a cluster is addressed."""

import math
from pathlib import Path

import pytest

from covey.platform.errors import UserError
from covey.platform.jobfile.load import parse_job_file
from covey.platform.jobs.admission import Capacity
from covey.platform.jobs.kube_address import KubeAddress, read_address
from covey.platform.jobs.kube_status import sighting_of
from covey.platform.jobs.launcher import Phase, Sighting
from covey.platform.jobs.outcome import judge
from covey.platform.kubernetes.attempts import (
    Attempt,
    attempt_ray_job,
    ray_job_name,
    refuse_paths_outside,
)
from covey.platform.kubernetes.checking import check
from covey.platform.kubernetes.rendering import as_yaml

PENDING, RUNNING = Sighting(Phase.PENDING), Sighting(Phase.RUNNING)
QUEUED = Sighting(Phase.PENDING, queued=True)


@pytest.mark.parametrize(
    ("deployed", "ray_says", "expected"),
    [
        ("", "", PENDING),
        ("Initializing", "", PENDING),
        ("Waiting", "", PENDING),
        ("Retrying", "", PENDING),
        ("Running", "", PENDING),
        ("Running", "PENDING", PENDING),
        ("Running", "RUNNING", RUNNING),
        ("Running", "SUCCEEDED", RUNNING),  # its log has not been read to the end
        ("Running", "FAILED", RUNNING),
        ("Suspending", "", QUEUED),
        ("Suspended", "", QUEUED),
        ("Complete", "SUCCEEDED", Sighting(Phase.SUCCEEDED, message="its RayJob is Complete")),
        ("Complete", "STOPPED", Sighting(Phase.STOPPED, message="its RayJob is Complete")),
        ("Failed", "", Sighting(Phase.FAILED, message="its RayJob is Failed")),
    ],
)
def test_a_status_is_a_phase(deployed: str, ray_says: str, expected: Sighting) -> None:
    ray_job = {"status": {"jobDeploymentStatus": deployed, "jobStatus": ray_says}}
    assert sighting_of(ray_job, has_begun=False) == expected


def test_one_that_nobody_has_seen_yet_is_pending_and_in_a_queue_held() -> None:
    assert sighting_of({}, has_begun=False) == PENDING
    assert sighting_of({"spec": {"suspend": True}}, has_begun=False) == QUEUED


def test_one_that_is_suspended_after_it_began_is_over() -> None:
    ray_job = {"spec": {"suspend": True}, "status": {"jobDeploymentStatus": "Suspending"}}
    verdict = judge(sighting_of(ray_job, has_begun=True), None, "")
    assert (verdict.result, verdict.final) == ("failed", False)
    assert "suspended" in verdict.reason


def failed(**status: str) -> Sighting:
    return sighting_of({"status": {"jobDeploymentStatus": "Failed", **status}}, has_begun=True)


def test_an_exit_status_is_in_rays_message() -> None:
    message = "Job entrypoint command failed with exit code 2, last available logs:\ncovey: a key"
    sighting = failed(jobStatus="FAILED", reason="AppFailed", message=message)
    assert sighting.exit_status == 2
    verdict = judge(sighting, None, "")
    assert verdict.final and verdict.reason.endswith("exit status 2: covey: a key")
    killed = failed(message="Job entrypoint command failed with exit code -9. No logs available.")
    assert judge(killed, None, "").reason == "the driver was killed by signal 9"
    late = judge(failed(reason="DeadlineExceeded", message="it took too long"), None, "")
    assert (late.reason, late.final) == ("DeadlineExceeded: it took too long", False)


def test_what_the_operator_refuses_is_not_tried_again() -> None:
    status = {"jobDeploymentStatus": "ValidationFailed", "message": "a name\nis too long"}
    verdict = judge(sighting_of({"status": status}, has_begun=False), None, "")
    assert verdict.final
    assert verdict.reason == "the operator refuses its RayJob: a name is too long"


def test_addresses() -> None:
    assert read_address("kubernetes://lab") == KubeAddress("lab")
    assert read_address("kubernetes://lab").room.cpus == math.inf
    full = read_address("kubernetes://lab?context=a/b&cpus=16&gpus=0.5")
    assert full == KubeAddress("lab", "a/b", Capacity(16, 0.5))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("kubernetes://", "write kubernetes://NAMESPACE"),
        ("kubernetes://Lab", "write kubernetes://NAMESPACE"),
        ("kubernetes://lab/more", "write kubernetes://NAMESPACE"),
        ("kubernetes://lab?cpu=1", "cpu: allowed are context, cpus and gpus"),
        ("kubernetes://lab?cpus=many", "cpus: many: allowed is a number"),
        ("kubernetes://lab?cpus=nan", "cpus: nan: allowed is a number"),
    ],
)
def test_an_address_that_is_none_is_told(address: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_address(address)


@pytest.mark.parametrize("job", ["a", "a" * 47, "1" * 47, "a" + "-" * 45 + "a"])
def test_names_of_ray_jobs_are_fixed_and_fit(job: str, toy_path: str) -> None:
    names = [ray_job_name(f"{job}-x2y3z-{number}") for number in (1, 2, 11, 1)]
    assert names[0] == names[3] and len(set(names)) == 3
    attempt = Attempt(f"{job}-x2y3z-11", f"{job}-x2y3z", 11, "/covey/runs/a b", 30, "store")
    file = {"name": "toy", "workload": "toy", "stop": {"env_steps": 10}}
    ray_job = attempt_ray_job(parse_job_file(file, Path("/")), attempt, "lab", Path("/covey"))
    assert check(as_yaml([ray_job]), None) == []
    assert ray_job["metadata"]["name"] == names[2]
    assert Attempt.of(ray_job) == attempt
    assert "'/covey/runs/a b' --attempt 11" in ray_job["spec"]["entrypoint"]


def test_an_attempt_has_its_folder_and_is_tried_once(toy_path: str, tmp_path: Path) -> None:
    file = {"name": "1toy", "workload": "toy", "stop": {"env_steps": 10}}
    file |= {"resources": {"cpus": 2}, "kubernetes": {"pod_cpus": 1, "queue": "team"}}
    attempt = Attempt("1toy-abcde-1", "1toy-abcde", 1, f"{tmp_path}/runs/x", 45, "store")
    ray_job = attempt_ray_job(parse_job_file(file, tmp_path), attempt, "lab", tmp_path)
    assert ray_job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    spec = ray_job["spec"]
    assert (spec["suspend"], spec["backoffLimit"]) == (True, 0)
    assert spec["submitterConfig"] == {"backoffLimit": 0}
    cluster = spec["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] == 55
        (container,) = pod["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["home"] == str(tmp_path)
        assert set(mounts) == {volume["name"] for volume in pod["volumes"]}
        assert {"name": "COVEY_HOME", "value": str(tmp_path)} in container["env"]


def test_a_folder_that_no_pod_sees_is_refused(toy_path: str, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    file = {"name": "toy", "workload": "toy", "stop": {"env_steps": 10}, "code": str(code)}
    job = parse_job_file(file, tmp_path)
    refuse_paths_outside(job, tmp_path)
    with pytest.raises(UserError, match=f"code: {code} is not on the claim"):
        refuse_paths_outside(job, tmp_path / "home")
