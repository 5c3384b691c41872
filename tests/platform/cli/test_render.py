"""`covey render`: exit status, lines for people, JSON for programs."""

import os
from pathlib import Path

import pytest
import yaml

from .conftest import Covey

GOOD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\n"
MANIFESTS = Path(__file__).parents[1] / "kubernetes" / "manifests"
BESIDE = Path(__file__).parents[4] / "shared" / "kuberay-crds"
CRDS = Path(os.environ.get("COVEY_KUBERAY_CRDS") or BESIDE)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.yaml"
    path.write_text(GOOD)
    return path


def test_a_manifest_that_holds(covey: Covey, manifest: Path) -> None:
    assert covey("render", "--check-file", manifest) == (0, f"{manifest}: nothing wrong\n", "")
    assert covey("render", "--check-file", manifest, "--json") == (0, "[]\n", "")


def test_a_line_for_each_fault(covey: Covey, manifest: Path) -> None:
    manifest.write_text(f"{GOOD}date: {{}}\nimmutable: maybe\n")
    answer = covey("render", "--check-file", manifest)
    assert (answer.exit_status, answer.out) == (1, "")
    assert answer.err.splitlines() == [
        "ConfigMap/one: date: is not known here, did you mean data?",
        "ConfigMap/one: immutable: found 'maybe', allowed is true or false",
    ]
    answer = covey("render", "--check-file", manifest, "--json")
    assert answer.exit_status == 1 and answer.err == ""
    assert answer.document[0] == {
        "document": "ConfigMap/one",
        "path": "date",
        "message": "is not known here, did you mean data?",
    }


def test_what_is_left_out_is_one_line_on_standard_error(
    covey: Covey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COVEY_KUBERAY_CRDS", raising=False)
    answer = covey("render", "--check-file", MANIFESTS / "rayjob.yaml")
    assert answer.exit_status == 0 and len(answer.out.splitlines()) == 1
    assert len(answer.err.splitlines()) == 1 and "COVEY_KUBERAY_CRDS is not set" in answer.err
    monkeypatch.setenv("COVEY_KUBERAY_CRDS", "/nowhere")
    answer = covey("render", "--check-file", MANIFESTS / "rayjob.yaml")
    assert answer.exit_status == 0 and "in /nowhere" in answer.err


@pytest.mark.skipif(not CRDS.is_dir(), reason=f"no KubeRay definitions in {CRDS}")
def test_the_folder_of_definitions_is_an_option_or_a_variable(
    covey: Covey, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = covey("render", "--check-file", MANIFESTS / "rayjob.yaml", "--crds", CRDS)
    monkeypatch.setenv("COVEY_KUBERAY_CRDS", str(CRDS))
    found = covey("render", "--check-file", MANIFESTS / "rayjob.yaml")
    assert given == found and given.exit_status == 0 and given.err == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give a job file, or --check-file"),
        (("job.yaml", "--check-file", "MANIFEST"), "give a job file, or --check-file"),
        (("job.yaml",), "job.yaml:"),
        (("job.yaml", "--target", "pods"), "--target pods: allowed is rayjob, raycluster, flower"),
        (("--check-file", "/nowhere/x.yaml"), "/nowhere/x.yaml: No such file"),
        (("--check-file", "/dev"), "/dev: Is a directory"),
        (("--check-file", "MANIFEST", "--crds", "/nowhere"), "/nowhere: no folder"),
    ],
)
def test_mistakes(covey: Covey, manifest: Path, arguments: tuple[str, ...], words: str) -> None:
    answer = covey("render", *(str(manifest) if a == "MANIFEST" else a for a in arguments))
    assert (answer.exit_status, answer.out) == (2, "")
    assert len(answer.err.splitlines()) == 1 and words in answer.err


def test_a_file_that_is_no_text(covey: Covey, manifest: Path) -> None:
    manifest.write_bytes(b"\xff\xfe\x00")
    answer = covey("render", "--check-file", manifest)
    assert answer.exit_status == 2 and answer.err.endswith("not UTF-8 text\n")


def test_a_store_that_may_not_know_the_pods_is_noted(covey: Covey, job_file: Path) -> None:
    """No fault: their nodes may have the right."""
    given = ("render", job_file, "--check", "--set", "checkpoint.path=s3://models/runs")
    found = covey(*given)
    assert found.exit_status == 0
    assert [line for line in found.err.splitlines() if "checkpoint.path" in line] == [
        "checkpoint.path: s3://models/runs knows the pods by their nodes alone, unless "
        "kubernetes.secrets or kubernetes.service_account is set"
    ]
    for more in ("kubernetes.secrets=[s3-keys]", "kubernetes.service_account=trainer"):
        assert "checkpoint.path" not in covey(*given, "--set", more).err
    assert "checkpoint.path" not in covey(*given[:2], *given[3:]).err
    assert "checkpoint.path" not in covey(*given[:-1], "checkpoint.path=/mnt/shared").err


def test_a_job_file_becomes_a_manifest_that_holds(covey: Covey, job_file: Path) -> None:
    answer = covey("render", job_file, "--check", "--set", "kubernetes.namespace=lab")
    assert answer.exit_status == 0
    files, job = yaml.safe_load_all(answer.out)
    assert (files["kind"], job["kind"], job["metadata"]["namespace"]) == (
        "ConfigMap",
        "RayJob",
        "lab",
    )
    assert covey("render", job_file, "--set", "kubernetes.namespace=lab", "--json").document == [
        files,
        job,
    ]
