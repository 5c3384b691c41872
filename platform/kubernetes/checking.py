"""The checks of a manifest without a cluster: `check` finds what a server or the operator would."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from covey.platform.jobfile.nearest import nearest
from covey.platform.jobfile.words import found
from covey.platform.kubernetes.core_kinds import OBJECT_META, CoreKinds, Kind, core_kinds
from covey.platform.kubernetes.core_rules import RULES
from covey.platform.kubernetes.crds import FILES, crd_file, read_crd
from covey.platform.kubernetes.documents import Document, Unreadable, read_documents
from covey.platform.kubernetes.faults import Fault, Finding, Findings, Found, mapping, text, texts
from covey.platform.kubernetes.metadata import metadata_findings
from covey.platform.kubernetes.ray_job_rules import job_findings
from covey.platform.kubernetes.ray_rules import cluster_findings
from covey.platform.kubernetes.strict import Strict

MANIFEST = "manifest"
RAY_GROUP = "ray.io"
RAY_KINDS = ("RayCluster", "RayCronJob", "RayJob", "RayService")


def check(text: str, crds: Path | None) -> list[Fault]:
    """All faults of a manifest of one or more documents; none when it holds.

    `crds` is the folder of KubeRay's definitions: without it, or without the file of a kind, Ray's
    kinds are checked by the operator's rules alone. `not_checked` tells what was left out.
    The operator's rules wait until the definition finds no wrong value outside the pods: what they
    said of such a value's consequences would mislead.
    """
    try:
        documents = read_documents(text)
    except Unreadable as error:
        return [Fault(MANIFEST, "top level", str(error))]
    faults = [fault for document in documents for fault in _document_faults(document, crds)]
    faults += _repeated(documents)
    return faults if documents else [Fault(MANIFEST, "top level", "holds no document")]


def not_checked(text: str, crds: Path | None) -> list[str]:
    """A line for each thing in a manifest that `check` does not look at, and why."""
    try:
        documents = read_documents(text)
    except Unreadable:
        return []
    notes = []
    for document in documents:
        kind = _kind(document.data)
        if _is_ray(kind) and crd_file(kind[2], crds) is None:
            why = f"no {FILES[kind[2]]} in {crds}" if crds else "COVEY_KUBERAY_CRDS is not set"
            notes.append(f"{kind[2]}: checked by the operator's rules alone, not its schema: {why}")
        elif _is_foreign(kind):
            version = "/".join(filter(None, kind[:2]))
            notes.append(f"{document.name}: not checked, no rules for {kind[2]} of {version}")
    return list(dict.fromkeys(notes))


def _document_faults(document: Document, crds: Path | None) -> list[Fault]:
    whole = Found()
    whole.add(document.findings)
    if document.data is not None:
        for findings in _all_findings(document.data, crds, whole):
            whole.add(findings)
    return whole.faults(document.name)


def _all_findings(data: Any, crds: Path | None, whole: Found) -> Iterator[Findings]:
    """The findings of each check, the most telling one first; `whole` holds those before."""
    if not isinstance(data, dict):
        yield iter(
            [Finding((), f"found {found(data)}, allowed is an object with apiVersion, kind")]
        )
        return
    yield _head_findings(data)
    kind = _kind(data)
    if not all(kind[1:]):
        yield metadata_findings(data)
    elif _is_ray(kind):
        yield from _ray_findings(data, kind[2], crds, whole)
    elif schema := core_kinds().schema(kind):
        yield Strict(core_kinds().definitions).check(data, schema)
        yield metadata_findings(data)
        if kind[2] in RULES:
            yield RULES[kind[2]](data)
    else:
        if not _is_foreign(kind):
            yield iter([_unknown_kind(kind, core_kinds())])
        yield metadata_findings(data)


def _head_findings(data: Mapping[str, Any]) -> Findings:
    """What every object has beside its metadata."""
    for name in ("apiVersion", "kind"):
        if not text(data, name):
            wrong = "is missing" if data.get(name) is None else f"found {found(data[name])}"
            yield Finding((name,), f"{wrong}, allowed is text")


def _ray_findings(
    data: Mapping[str, Any], kind: str, crds: Path | None, whole: Found
) -> Iterator[Findings]:
    if file := crd_file(kind, crds):
        yield Strict().check(data, read_crd(file))
    core = core_kinds()
    schema = core.definitions[OBJECT_META]
    yield Strict(core.definitions).check(mapping(data, "metadata"), schema, ("metadata",))
    yield metadata_findings(data)
    if any(_unsettles(finding) for finding in whole.findings):
        return
    if kind == "RayJob":
        yield job_findings(data)
    else:
        annotations = texts(mapping(data, "metadata"), "annotations")
        yield cluster_findings(mapping(data, "spec"), annotations, ("spec",))


def _unsettles(finding: Finding) -> bool:
    """A value on which the operator's rules may depend is wrong; unknown fields do no harm."""
    of_a_pod = "template" in finding.key or "submitterPodTemplate" in finding.key
    return finding.meant is None and finding.key[:1] == ("spec",) and not of_a_pod


def _kind(data: Any) -> Kind:
    """Group, version and kind; empty texts for what is not there."""
    group, _, version = text(data, "apiVersion").rpartition("/")
    return group, version, text(data, "kind")


def _is_ray(kind: Kind) -> bool:
    return kind[:2] == (RAY_GROUP, "v1") and kind[2] in FILES


def _is_foreign(kind: Kind) -> bool:
    """A kind that neither Kubernetes nor our rules have, but perhaps the cluster."""
    group, version, name = kind
    if not version or not name:
        return False
    if group == RAY_GROUP:
        return name in RAY_KINDS and not _is_ray(kind)
    # Groups of others have a dot.
    return "." in group and group not in core_kinds().groups()


def _unknown_kind(kind: Kind, core: CoreKinds) -> Finding:
    """A kind in a group that we know, where it does not exist."""
    group, version, name = kind
    versions = sorted({each[1] for each in core.names if each[0] == group and each[2] == name})
    if versions:
        message = f"found {found(version)}, {name} exists as {', '.join(versions)}"
        return Finding(("apiVersion",), message)
    elsewhere = sorted("/".join(filter(None, each[:2])) for each in core.names if each[2] == name)
    if elsewhere:
        message = f"found {found('/'.join(filter(None, kind[:2])))}, {name} is of {elsewhere[0]}"
        return Finding(("apiVersion",), message)
    known = RAY_KINDS if group == RAY_GROUP else {each[2] for each in core.names}
    hint = f", did you mean {meant}?" if (meant := nearest(name, known)) else ""
    return Finding(("kind",), f"{group or 'Kubernetes'} has no kind {found(name)}{hint}")


def _repeated(documents: list[Document]) -> list[Fault]:
    """Objects that stand twice: the second would overwrite the first."""
    seen: set[tuple[str, ...]] = set()
    faults = []
    for document in documents:
        metadata = mapping(document.data, "metadata")
        name, namespace = text(metadata, "name"), text(metadata, "namespace")
        this = (*_kind(document.data), namespace, name)
        if name and this in seen:
            faults.append(
                Fault(document.name, "metadata.name", "stands twice, allowed is once by kind")
            )
        seen.add(this)
    return faults
