"""What an API server demands beyond their schema of the kinds that hold a pod template."""

from collections.abc import Mapping
from typing import Any

from covey.platform.errors import Key
from covey.platform.kubernetes import syntax
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
from covey.platform.kubernetes.pod_rules import pod_findings, template_findings

Section = Mapping[str, Any]
SPEC: Key = ("spec",)
TEMPLATE: Key = ("spec", "template")
COUNTS = (
    "replicas",
    "minReadySeconds",
    "progressDeadlineSeconds",
    "revisionHistoryLimit",
    "parallelism",
    "completions",
    "backoffLimit",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
)


def pod(data: Section) -> Findings:
    yield from pod_findings(mapping(data, "spec"), SPEC)


def deployment(data: Section) -> Findings:
    """Also of a StatefulSet, a DaemonSet and a ReplicaSet: pods that run on and on."""
    spec = mapping(data, "spec")
    yield from _counts(spec, SPEC)
    yield from _strategy(data)
    claims = [
        text(mapping(claim, "metadata"), "name") for _, claim in rows(spec, "volumeClaimTemplates")
    ]
    yield from template_findings(spec.get("template"), TEMPLATE, ("Always",), claims)
    labels = texts(mapping(spec, "template", "metadata"), "labels")
    selector: Key = (*SPEC, "selector")
    wanted = texts(mapping(spec, "selector"), "matchLabels")
    yield from syntax.label_findings(wanted, (*selector, "matchLabels"))
    if not wanted and not mapping(spec, "selector").get("matchExpressions"):
        yield Finding((*selector, "matchLabels"), "is missing: it names the labels of the template")
    for name, value in wanted.items():
        if mapping(spec, "template") and labels.get(name) != value:
            message = f"{value} is not what spec.template.metadata.labels says"
            yield Finding((*selector, "matchLabels", name), message)


def _strategy(data: Section) -> Findings:
    """How a Deployment replaces its pods."""
    strategy, key = mapping(data, "spec", "strategy"), (*SPEC, "strategy")
    yield from chosen(strategy, "type", ("Recreate", "RollingUpdate"), key)
    if text(strategy, "type") == "Recreate" and strategy.get("rollingUpdate") is not None:
        yield Finding((*key, "rollingUpdate"), "goes without type: Recreate only")
    rolling = mapping(strategy, "rollingUpdate")
    if {str(rolling.get(name)) for name in ("maxSurge", "maxUnavailable")} <= {"0", "0%"}:
        yield Finding((*key, "rollingUpdate", "maxUnavailable"), "0, while maxSurge is 0 too")


def job(data: Section) -> Findings:
    yield from _job(mapping(data, "spec"), SPEC)


def cron_job(data: Section) -> Findings:
    spec = mapping(data, "spec")
    policies = ("Allow", "Forbid", "Replace")
    yield from chosen(spec, "concurrencyPolicy", policies, SPEC)
    schedule = text(spec, "schedule")
    if schedule and not schedule.startswith("@") and len(schedule.split()) != 5:
        yield Finding((*SPEC, "schedule"), "allowed are five fields such as */30 * * * *")
    template: Key = (*SPEC, "jobTemplate")
    yield from _job(mapping(spec, "jobTemplate", "spec"), (*template, "spec"))


def _job(spec: Section, key: Key) -> Findings:
    yield from _counts(spec, key)
    policies = ("Never", "OnFailure")
    yield from chosen(spec, "completionMode", ("NonIndexed", "Indexed"), key)
    template: Key = (*key, "template")
    yield from template_findings(spec.get("template"), template, policies)
    if not text(mapping(spec, "template", "spec"), "restartPolicy"):
        message = "is missing, allowed is one of Never, OnFailure"
        yield Finding((*template, "spec", "restartPolicy"), message)
    if text(spec, "completionMode") == "Indexed" and number(spec, "completions") is None:
        yield Finding((*key, "completions"), "is missing: completionMode is Indexed")


def _counts(spec: Section, key: Key) -> Findings:
    for name in COUNTS:
        if (value := number(spec, name) or 0) < 0:
            yield Finding((*key, name), f"found {value}, allowed is at least 0")
