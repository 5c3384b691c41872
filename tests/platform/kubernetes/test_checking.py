"""A manifest as a whole: what is read, what holds, what is refused and what is not checked."""

from pathlib import Path

import pytest

from covey.platform.errors import UserError
from covey.platform.kubernetes.checking import check, not_checked

from .conftest import CRDS, MANIFESTS, needs_crds

CONFIG_MAP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: one}
data: {a: b}
"""


def told(text: str) -> list[str]:
    return [str(fault) for fault in check(text, None)]


@pytest.mark.parametrize("name", ["rayjob.yaml", "raycluster.yaml", "deployment.yaml"])
@pytest.mark.parametrize("crds", [pytest.param(CRDS, marks=needs_crds, id="crds"), None])
def test_a_good_manifest_holds(name: str, crds: Path | None) -> None:
    assert check((MANIFESTS / name).read_text(), crds) == []


def test_several_documents_and_empty_ones_between_them() -> None:
    two = CONFIG_MAP.replace("one", "two")
    assert told(f"# begin\n---\n{CONFIG_MAP}---\n---\n{two}---\n") == []
    wrong = two.replace("\ndata", "\ndate")
    faults = told(f"{CONFIG_MAP}---\n{wrong}")
    assert faults == ["ConfigMap/two: date: is not known here, did you mean data?"]


def test_an_object_that_stands_twice() -> None:
    assert told(f"{CONFIG_MAP}---{CONFIG_MAP}") == [
        "ConfigMap/one: metadata.name: stands twice, allowed is once by kind"
    ]
    assert (
        told(f"{CONFIG_MAP}---{CONFIG_MAP.replace('name: one', 'name: one, namespace: x')}") == []
    )


def test_the_objects_of_a_list_are_checked_one_by_one() -> None:
    good, wrong = (
        f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}}}" for name in "aB"
    )
    begin = "{apiVersion: v1, kind: List, items: "
    assert told(f"{begin}[]}}") == []
    assert told(f"{begin}[{good}]}}") == []
    assert [line[:28] for line in told(f"{begin}[{good}, {wrong}]}}")] == [
        "ConfigMap/B: metadata.name: "
    ]


def test_a_misspelt_metadata_is_one_fault() -> None:
    faults = told(CONFIG_MAP.replace("metadata", "metadate"))
    assert faults == ["document 1: metadate: is not known here, did you mean metadata?"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "manifest: top level: holds no document"),
        ("# nothing\n---\n", "manifest: top level: holds no document"),
        ("just words", "document 1: top level: found 'just words', allowed is an object"),
        ("- a\n- b", "document 1: top level: found a list, allowed is an object"),
        ("a: [b", "manifest: top level: line 2: not YAML: "),
        ("a:\n\t- b", "manifest: top level: line 2: not YAML: "),
        ("a: \x00", "manifest: top level: not YAML: "),
        ("a: *b", "manifest: top level: line 1: not YAML: found undefined alias"),
        (f"{CONFIG_MAP}kind: Secret", "ConfigMap/one: kind: stands twice, again in line 6"),
        (f"{CONFIG_MAP}x: !!python/name:os.system", "ConfigMap/one: x: found the tag"),
        (f"{CONFIG_MAP}immutable: .nan", "ConfigMap/one: immutable: found .nan, allowed are fin"),
        (CONFIG_MAP.replace("kind: ConfigMap", ""), "document 1: kind: is missing, allowed is"),
        (CONFIG_MAP.replace("v1", "1"), "ConfigMap/one: apiVersion: found 1, allowed is text"),
        (CONFIG_MAP.replace("name: one", ""), "document 1: metadata.name: is missing"),
        (CONFIG_MAP.replace("metadata: {name: one}", ""), "document 1: metadata.name: is missing"),
        (CONFIG_MAP.replace("ConfigMap", "Config Map"), "Config Map/one: kind: Kubernetes has no"),
        (CONFIG_MAP.replace("v1", "ray.io/v1"), "ConfigMap/one: apiVersion: found 'ray.io/v1', Co"),
        (CONFIG_MAP.replace("a: b", "a: on"), "ConfigMap/one: data.a: found true, allowed is text"),
        (CONFIG_MAP.replace("a: b", "a: 0o17"), "ConfigMap/one: data.a: found 15, allowed is text"),
        (CONFIG_MAP.replace("a: b", "<<: c"), "ConfigMap/one: data.<<: found 'c', allowed is a "),
        ("[" * 200 + "]" * 200, "manifest: top level: line 1: nested deeper than 100 levels"),
        ("a: &a [*a]", "manifest: top level: line 1: nested deeper than 100 levels"),
        ("x" * 3_000_001, "manifest: top level: 3000001 characters, allowed are 3000000"),
    ],
)
def test_what_is_no_manifest(text: str, fault: str) -> None:
    faults = told(text)
    assert len(faults) == 1 and faults[0].startswith(fault.replace("data.<<", "data.'<<'")), faults
    assert len(faults[0].splitlines()) == 1


def test_aliases_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert ["(aliases count each time)" in line for line in told("\n".join(lines))] == [True]


@pytest.mark.parametrize("value", ["2026-01-31", "1:30", "'on'", "017x", "1_0x", "~x", "=", "0o9"])
def test_text_that_other_readers_take_for_something_else(value: str) -> None:
    assert told(CONFIG_MAP.replace("a: b", f"a: {value}")) == []


def test_nobody_reads_more_than_a_hundred_faults() -> None:
    faults = told(CONFIG_MAP.replace("a: b", ", ".join(f"a{n}: {n}" for n in range(2_000))))
    assert len(faults) == 101 and "no more than 100 faults" in faults[-1]


def test_merged_mappings_yield_to_what_stands_beside_them() -> None:
    text = "metadata: {<<: [{name: C, labels: {a: b}}, {name: D}], name: one}"
    assert told(CONFIG_MAP.replace("metadata: {name: one}", text)) == []


def test_what_is_not_checked_is_named() -> None:
    queue = "apiVersion: kueue.x-k8s.io/v1beta1\nkind: LocalQueue\nmetadata: {name: training}\n"
    assert told(queue) == []
    assert not_checked(f"{queue}---{CONFIG_MAP}", None) == [
        "LocalQueue/training: not checked, no rules for LocalQueue of kueue.x-k8s.io/v1beta1"
    ]
    assert told(queue.replace("name: training", "name: Training"))[0].startswith(
        "LocalQueue/Training: metadata.name: found 'Training'"
    )
    cluster = (MANIFESTS / "raycluster.yaml").read_text()
    assert not_checked(cluster, None) == [
        "RayCluster: checked by the operator's rules alone, not its schema: "
        "COVEY_KUBERAY_CRDS is not set"
    ]
    assert "no ray.io_rayclusters.yaml in /nowhere" in not_checked(cluster, Path("/nowhere"))[0]
    older = cluster.replace("ray.io/v1", "ray.io/v1alpha1")
    assert "no rules for RayCluster of ray.io/v1alpha1" in not_checked(older, None)[0]


@needs_crds
def test_nothing_is_left_unchecked_with_the_definitions() -> None:
    for file in MANIFESTS.iterdir():
        assert not_checked(file.read_text(), CRDS) == []


@pytest.mark.parametrize("text", ["", "a: [", "spec: {versions: [{name: v2}]}", "spec: {}"])
def test_a_file_that_is_no_definition(tmp_path: Path, text: str) -> None:
    (tmp_path / "ray.io_rayclusters.yaml").write_text(text)
    with pytest.raises(UserError, match=r"rayclusters.yaml: no custom resource definition of v1: "):
        check((MANIFESTS / "raycluster.yaml").read_text(), tmp_path)
