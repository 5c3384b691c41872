"""The operator's rules on several fields of a RayJob together."""

import json
from itertools import cycle, islice
from typing import Any

import pytest

from covey.platform.kubernetes.checking import check

from .conftest import CRDS, good, needs_crds

POD = {"spec": {"containers": [{"name": "ray", "image": "rayproject/ray:2.55.1"}]}}
CLUSTER: dict[str, Any] = {"headGroupSpec": {"template": POD}}
SELECTED = {"clusterSelector": {"ray.io/cluster": "shared"}}
SCALED = {"rayClusterSpec": {**CLUSTER, "enableInTreeAutoscaling": True}}


def strategy(*rules: tuple[str, str, int], **others: Any) -> dict[str, Any]:
    """Deletion rules: a policy, the job's status, and the seconds after it."""
    listed = [
        {"policy": policy, "condition": {"jobStatus": status, "ttlSeconds": ttl}}
        for policy, status, ttl in rules
    ]
    return {"deletionStrategy": {"deletionRules": listed, **others}}


def legacy(success: str, failure: str) -> dict[str, Any]:
    policies = {"onSuccess": {"policy": success}, "onFailure": {"policy": failure}}
    return {"deletionStrategy": policies}


def faults(spec: dict[str, Any]) -> list[str]:
    """The faults of a RayJob with these fields, on a cluster of its own unless they say other."""
    where = (
        {} if spec.keys() & {"clusterSelector", "rayClusterSpec"} else {"rayClusterSpec": CLUSTER}
    )
    job = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": "job"}}
    found = check(json.dumps({**job, "spec": {**where, **spec}}), CRDS if CRDS.is_dir() else None)
    return [str(fault).removeprefix("RayJob/job: ") for fault in found]


@pytest.mark.parametrize(
    "spec",
    [
        {},
        SELECTED,
        {**SELECTED, "backoffLimit": 0, "submissionMode": "HTTPMode"},
        {"suspend": True, "shutdownAfterJobFinishes": True},
        {"submissionMode": "SidecarMode", "backoffLimit": 2},
        {"submissionMode": "InteractiveMode", "jobId": "a"},
        strategy(("DeleteWorkers", "FAILED", 10), ("DeleteCluster", "FAILED", 20)),
        strategy(("DeleteSelf", "FAILED", 10), ("DeleteCluster", "SUCCEEDED", 20)),
        {**SELECTED, **strategy(("DeleteSelf", "FAILED", 0))},
        {**legacy("DeleteCluster", "DeleteNone")},
        {"runtimeEnvYAML": ""},
    ],
    ids=str,
)
def test_what_the_operator_takes(spec: dict[str, Any]) -> None:
    assert faults(spec) == []


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({"suspend": True}, "spec.suspend: needs shutdownAfterJobFinishes"),
        ({"ttlSecondsAfterFinished": 9}, "spec.ttlSecondsAfterFinished: needs shutdown"),
        (
            {**SELECTED, "suspend": True, "shutdownAfterJobFinishes": True},
            "spec.suspend: is not supported with clusterSelector",
        ),
        ({**SELECTED, "backoffLimit": 1}, "spec.backoffLimit: is not supported with clusterSel"),
        ({**SELECTED, "submissionMode": "SidecarMode"}, "spec.clusterSelector: is not supported"),
        (
            {"submissionMode": "InteractiveMode", "backoffLimit": 1},
            "spec.backoffLimit: is not supported with InteractiveMode",
        ),
        (
            {"submissionMode": "SidecarMode", "submitterConfig": {"backoffLimit": 1}},
            "spec.submitterConfig: is not supported with SidecarMode",
        ),
        (
            {**strategy(("DeleteSelf", "FAILED", 0)), "shutdownAfterJobFinishes": True},
            "spec.deletionStrategy.deletionRules: goes without shutdownAfterJobFinishes",
        ),
        (
            strategy(("DeleteSelf", "FAILED", 0), ("DeleteSelf", "FAILED", 5)),
            "spec.deletionStrategy.deletionRules[1].policy: DeleteSelf stands twice for FAILED",
        ),
        (
            strategy(("DeleteCluster", "FAILED", 10), ("DeleteSelf", "FAILED", 5)),
            "spec.deletionStrategy.deletionRules: for FAILED, DeleteSelf comes after 5 s",
        ),
        (
            {**SELECTED, **strategy(("DeleteCluster", "FAILED", 0))},
            "spec.deletionStrategy.deletionRules[0].policy: DeleteCluster is not supported",
        ),
        (
            {**SCALED, **strategy(("DeleteWorkers", "FAILED", 0))},
            "spec.deletionStrategy.deletionRules[0].policy: DeleteWorkers is not supported while",
        ),
        (
            {**SCALED, **legacy("DeleteWorkers", "DeleteNone")},
            "spec.deletionStrategy.onSuccess.pol",
        ),
        (
            {**legacy("DeleteSelf", "DeleteNone"), "shutdownAfterJobFinishes": True},
            "spec.deletionStrategy.onFailure.policy: DeleteNone goes without",
        ),
        (
            {"deletionStrategy": {"onSuccess": {"policy": "DeleteNone"}, "onFailure": {}}},
            "spec.deletionStrategy.onFailure.policy: is missing",
        ),
    ],
)
def test_what_the_operator_refuses(spec: dict[str, Any], fault: str) -> None:
    found = faults(spec)
    assert len(found) == 1 and found[0].startswith(fault), found


@needs_crds
@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({"deletionStrategy": {"deletionRules": []}}, "spec.deletionStrategy.deletionRules: holds"),
        (
            strategy(("DeleteSelf", "STOPPED", 0)),
            "spec.deletionStrategy.deletionRules[0].condition.jobStatus: found 'STOPPED', allowed",
        ),
        (
            strategy(("DeleteSelf", "FAILED", -1)),
            "spec.deletionStrategy.deletionRules[0].condition.ttlSeconds: found -1, allowed",
        ),
        (
            strategy(("DeleteSelf", "FAILED", 0), onSuccess={"policy": "DeleteNone"}),
            "spec.deletionStrategy: legacy policies (onSuccess/onFailure) and deletionRules cannot",
        ),
        (
            {"deletionStrategy": {"deletionRules": [{"policy": "DeleteSelf", "condition": {}}]}},
            "spec.deletionStrategy.deletionRules[0].condition: the deletion condition requires",
        ),
    ],
)
def test_what_the_definition_refuses(spec: dict[str, Any], fault: str) -> None:
    found = faults(spec)
    assert len(found) == 1 and found[0].startswith(fault), found


def test_rules_bear_data_of_any_shape() -> None:
    """Many a value becomes something else: faults are told, nothing is raised."""
    for kind in ("RayJob", "Deployment", "Service", "NetworkPolicy", "RoleBinding"):
        whole = json.loads(good()[kind])
        others = cycle([None, 7, "?", [], [7], {}, {"?": 7}])
        for place, other in zip(islice(_places(whole), 0, None, 3), others, strict=False):
            text = json.dumps(_replaced(whole, place, other))
            assert all(str(fault) for fault in check(text, None))


def _places(value: Any) -> Any:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for name, item in pairs:
        yield (name,)
        if isinstance(item, dict | list):
            yield from ((name, *rest) for rest in _places(item))


def _replaced(value: Any, place: tuple[Any, ...], other: Any) -> Any:
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    name, *rest = place
    copy[name] = _replaced(value[name], tuple(rest), other) if rest else other
    return copy
