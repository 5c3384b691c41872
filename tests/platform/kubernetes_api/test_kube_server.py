"""The stand-in for an API server does what the official client expects of a real one."""

import json

import pytest
from kube_place import NAMESPACE, write_kubeconfig
from kubernetes import client, config, watch

from covey.platform.jobfile.load import parse_job_file
from covey.platform.kubernetes.ray_kinds import ray_job

KIND = {"group": "ray.io", "version": "v1", "plural": "rayjobs", "namespace": NAMESPACE}


@pytest.fixture
def ray_jobs(api, tmp_path):
    configuration = client.Configuration()
    file = write_kubeconfig(tmp_path / "kubeconfig", api.url, api.token)
    config.load_kube_config(str(file), client_configuration=configuration)
    configuration.no_proxy = "127.0.0.1"
    with client.ApiClient(configuration) as connection:
        yield client.CustomObjectsApi(connection)


@pytest.fixture
def manifest(toy_job, tmp_path):
    _, made = ray_job(parse_job_file(toy_job, tmp_path))
    made["metadata"]["namespace"] = NAMESPACE
    return json.loads(json.dumps(made))


def refused(call, **arguments):
    with pytest.raises(client.ApiException) as caught:
        call(**KIND, **arguments)
    return caught.value.status, json.loads(caught.value.body)["reason"]


def test_conflicts_versions_and_the_status_apart(ray_jobs, manifest):
    made = ray_jobs.create_namespaced_custom_object(**KIND, body=manifest)
    assert made["metadata"]["uid"] and made["metadata"]["generation"] == 1
    again = refused(ray_jobs.create_namespaced_custom_object, body=manifest)
    assert again == (409, "AlreadyExists")

    made["status"] = {"jobStatus": "RUNNING"}
    made["spec"]["backoffLimit"] = 7
    changed = ray_jobs.replace_namespaced_custom_object(**KIND, name="toy", body=made)
    assert changed["spec"]["backoffLimit"] == 7 and "status" not in changed
    assert changed["metadata"]["generation"] == 2
    old = refused(ray_jobs.replace_namespaced_custom_object, name="toy", body=made)
    assert old == (409, "Conflict")

    changed["status"] = {"jobStatus": "RUNNING"}
    changed["spec"]["backoffLimit"] = 8
    now = ray_jobs.replace_namespaced_custom_object_status(**KIND, name="toy", body=changed)
    assert now["status"] == {"jobStatus": "RUNNING"} and now["spec"]["backoffLimit"] == 7
    assert ray_jobs.get_namespaced_custom_object(**KIND, name="toy") == now


def test_finalizers_hold_what_is_deleted(ray_jobs, manifest):
    manifest["metadata"]["finalizers"] = ["ray.io/x"]
    made = ray_jobs.create_namespaced_custom_object(**KIND, body=manifest)
    wrong = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="another"))
    answer = refused(ray_jobs.delete_namespaced_custom_object, name="toy", body=wrong)
    assert answer == (409, "Conflict")
    held = ray_jobs.delete_namespaced_custom_object(**KIND, name="toy")
    assert held["metadata"]["deletionTimestamp"]
    free = {"metadata": {"finalizers": [], "resourceVersion": held["metadata"]["resourceVersion"]}}
    ray_jobs.patch_namespaced_custom_object(**KIND, name="toy", body=free)
    assert refused(ray_jobs.get_namespaced_custom_object, name="toy") == (404, "NotFound")
    assert made["metadata"]["uid"]


def test_what_the_check_refuses_is_refused(ray_jobs, manifest, api):
    manifest["spec"]["submissionMode"] = "BadMode"
    answer = refused(ray_jobs.create_namespaced_custom_object, body=manifest)
    assert answer == (422, "Invalid")
    api.token = "another"
    assert refused(ray_jobs.list_namespaced_custom_object) == (401, "Unauthorized")


def test_a_watch_tells_each_change_once_and_bookmarks(ray_jobs, manifest, api):
    listed = ray_jobs.list_namespaced_custom_object(**KIND)
    version = listed["metadata"]["resourceVersion"]
    ray_jobs.create_namespaced_custom_object(**KIND, body=manifest)
    ray_jobs.delete_namespaced_custom_object(**KIND, name="toy")
    looking, kinds = watch.Watch(), []
    for event in looking.stream(
        ray_jobs.list_namespaced_custom_object,
        **KIND,
        resource_version=version,
        allow_watch_bookmarks=True,
        timeout_seconds=120,
    ):
        kinds.append(event["type"])
        if kinds.count("BOOKMARK") == 2:
            looking.stop()
    assert kinds == ["ADDED", "DELETED", "BOOKMARK", "BOOKMARK"]
    api.objects.forget()
    with pytest.raises(client.ApiException) as caught:
        list(
            watch.Watch().stream(
                ray_jobs.list_namespaced_custom_object,
                **KIND,
                resource_version=version,
                timeout_seconds=1,
            )
        )
    assert caught.value.status == 410
