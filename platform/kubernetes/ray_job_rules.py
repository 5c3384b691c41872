"""What KubeRay's operator (v1.7, its feature gates as they are by default) demands of a RayJob."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import yaml

from covey.platform.errors import Key
from covey.platform.jobfile.words import found
from covey.platform.kubernetes.container_rules import chosen
from covey.platform.kubernetes.faults import (
    Finding,
    Findings,
    mapping,
    number,
    rows,
    text,
    texts,
)
from covey.platform.kubernetes.pod_rules import template_findings
from covey.platform.kubernetes.ray_rules import (
    autoscales,
    cluster_findings,
    never_restarted,
    own_container,
)

Section = Mapping[str, Any]
SPEC: Key = ("spec",)
CLUSTER: Key = ("spec", "rayClusterSpec")
SUBMISSION_MODES = ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
POLICIES = ("DeleteCluster", "DeleteWorkers", "DeleteSelf", "DeleteNone")
DELETION_ORDER = ("DeleteWorkers", "DeleteCluster", "DeleteSelf")
"""What is deleted later holds what is deleted earlier."""
SELECTOR = "ray.io/cluster"
POSITIVE = ("activeDeadlineSeconds", "preRunningDeadlineSeconds")


def job_findings(data: Section) -> Findings:
    """What is wrong with a RayJob as a whole object."""
    job = mapping(data, "spec")
    cluster = mapping(job, "rayClusterSpec")
    yield from chosen(job, "submissionMode", SUBMISSION_MODES, SPEC)
    yield from _numbers(job)
    yield from _suspended(job)
    yield from _runtime_env(job)
    yield from _submission(job)
    yield from _deletion(job)
    if job.get("clusterSelector"):
        yield from _selected(job)
    elif job.get("rayClusterSpec") is None:
        yield Finding(CLUSTER, "is missing, allowed are rayClusterSpec or clusterSelector")
    if job.get("rayClusterSpec") is not None:
        yield from cluster_findings(
            cluster, texts(mapping(data, "metadata"), "annotations"), CLUSTER
        )
        if mapping(cluster, "authOptions").get("enableK8sTokenAuth") is True:
            message = "is not supported for a RayJob"
            yield Finding((*CLUSTER, "authOptions", "enableK8sTokenAuth"), message)
        if text(mapping(cluster, "upgradeStrategy"), "type"):
            message = "is not supported for the cluster of a RayJob"
            yield Finding((*CLUSTER, "upgradeStrategy", "type"), message)


def _numbers(job: Section) -> Findings:
    for name in POSITIVE:
        value = number(job, name)
        if value is not None and value <= 0:
            yield Finding((*SPEC, name), f"found {value}, allowed is at least 1")
    for name in ("backoffLimit", "ttlSecondsAfterFinished"):
        if (value := number(job, name) or 0) < 0:
            yield Finding((*SPEC, name), f"found {value}, allowed is at least 0")
    if (number(job, "ttlSecondsAfterFinished") or 0) > 0 and not _shuts_down(job):
        message = "needs shutdownAfterJobFinishes: true"
        yield Finding((*SPEC, "ttlSecondsAfterFinished"), message)


def _shuts_down(job: Section) -> bool:
    return job.get("shutdownAfterJobFinishes") is True


def _suspended(job: Section) -> Findings:
    if job.get("suspend") is True:
        if job.get("clusterSelector"):
            yield Finding((*SPEC, "suspend"), "is not supported with clusterSelector")
        elif not _shuts_down(job):
            yield Finding((*SPEC, "suspend"), "needs shutdownAfterJobFinishes: true")


def _runtime_env(job: Section) -> Findings:
    """Only that it is YAML: what may stand in it is Ray's affair."""
    try:
        value = yaml.safe_load(text(job, "runtimeEnvYAML"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        yield Finding((*SPEC, "runtimeEnvYAML"), f"is not YAML: {error}")
        return
    if value is not None and not isinstance(value, dict):
        yield Finding((*SPEC, "runtimeEnvYAML"), f"found {found(value)}, allowed is a mapping")


def _submission(job: Section) -> Findings:
    mode, head = text(job, "submissionMode"), mapping(job, "rayClusterSpec", "headGroupSpec")
    head_key: Key = (*CLUSTER, "headGroupSpec")
    if mode == "InteractiveMode" and (number(job, "backoffLimit") or 0) > 0:
        yield Finding((*SPEC, "backoffLimit"), "is not supported with InteractiveMode")
    if mode == "SidecarMode":
        for name in ("submitterPodTemplate", "submitterConfig"):
            if job.get(name) is not None:
                yield Finding((*SPEC, name), "is not supported with SidecarMode")
        yield from never_restarted(head, "with SidecarMode", head_key)
        yield from own_container(head, "ray-job-submitter", "with SidecarMode", head_key)
    elif job.get("submitterPodTemplate") is not None:
        # The operator makes a Job of it.
        template, policies = job["submitterPodTemplate"], ("Never", "OnFailure")
        key: Key = (*SPEC, "submitterPodTemplate")
        yield from template_findings(template, key, policies)
        if not text(mapping(template, "spec"), "restartPolicy"):
            message = "is missing, allowed is one of Never, OnFailure"
            yield Finding((*key, "spec", "restartPolicy"), message)


def _selected(job: Section) -> Findings:
    """A job on a cluster that stands already."""
    selector: Key = (*SPEC, "clusterSelector", SELECTOR)
    if not texts(job, "clusterSelector").get(SELECTOR):
        yield Finding(selector, "is missing: it names the cluster")
    if text(job, "submissionMode") == "SidecarMode":
        yield Finding((*SPEC, "clusterSelector"), "is not supported with SidecarMode")
    if (number(job, "backoffLimit") or 0) > 0:
        yield Finding((*SPEC, "backoffLimit"), "is not supported with clusterSelector")


def _deletion(job: Section) -> Findings:
    if job.get("deletionStrategy") is None:
        return
    strategy, key = mapping(job, "deletionStrategy"), (*SPEC, "deletionStrategy")
    old = [name for name in ("onSuccess", "onFailure") if strategy.get(name) is not None]
    if strategy.get("deletionRules"):
        if _shuts_down(job):
            message = "goes without shutdownAfterJobFinishes only"
            yield Finding((*key, "deletionRules"), message)
        if old:
            yield Finding((*key, old[0]), "goes without deletionRules only")
        yield from _rules(job, strategy, key)
    elif old:
        for name in ("onSuccess", "onFailure"):
            path = (*key, name, "policy")
            policy = text(mapping(strategy, name), "policy")
            if not policy:
                yield Finding(path, "is missing: onSuccess and onFailure go together")
            yield from _policy(job, policy, path)
            if policy == "DeleteNone" and _shuts_down(job):
                yield Finding(path, "DeleteNone goes without shutdownAfterJobFinishes only")
    else:
        yield Finding((*key, "deletionRules"), "is missing: a strategy has at least one rule")


def _policy(job: Section, policy: str, key: Key) -> Findings:
    yield from chosen({"policy": policy}, "policy", POLICIES, key[:-1])
    if job.get("clusterSelector") and policy in ("DeleteCluster", "DeleteWorkers"):
        yield Finding(key, f"{policy} is not supported with clusterSelector")
    elif policy == "DeleteWorkers" and autoscales(mapping(job, "rayClusterSpec")):
        yield Finding(key, "DeleteWorkers is not supported while autoscaling is enabled")


def _rules(job: Section, strategy: Section, key: Key) -> Findings:
    delays: dict[tuple[str, str], dict[str, int]] = {}
    for path, rule in rows(strategy, "deletionRules", key):
        policy, condition = text(rule, "policy"), mapping(rule, "condition")
        yield from _policy(job, policy, (*path, "policy"))
        status = [
            (name, text(condition, name))
            for name in ("jobStatus", "jobDeploymentStatus")
            if text(condition, name)
        ]
        if len(status) != 1:
            message = "allowed is exactly one of jobStatus and jobDeploymentStatus"
            yield Finding((*path, "condition"), message)
            continue
        delay = number(condition, "ttlSeconds") or 0
        if delay < 0:
            message = f"found {delay}, allowed is at least 0"
            yield Finding((*path, "condition", "ttlSeconds"), message)
        same = delays.setdefault(status[0], {})
        if policy in same:
            yield Finding((*path, "policy"), f"{policy} stands twice for {status[0][1]}")
        same[policy] = delay
    for (_, status_name), same in delays.items():
        yield from _order(status_name, same, (*key, "deletionRules"))


def _order(status: str, delays: Mapping[str, int], key: Key) -> Findings:
    policies = [policy for policy in DELETION_ORDER if policy in delays]
    for early, late in pairwise(policies):
        if delays[late] < delays[early]:
            message = (
                f"for {status}, {late} comes after {delays[late]} s, allowed is no earlier than "
                f"{early}, after {delays[early]} s"
            )
            yield Finding(key, message)
