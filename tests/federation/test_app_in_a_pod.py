"""An app folder as `covey render` sends it: files of a ConfigMap, where the user's are not."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from covey.platform import driver
from covey.platform.kubernetes.rendering import render
from covey.platform.runs.folder import RunFolder

APPS = Path(__file__).parent / "apps"


def mounted(manifest: str, folder: Path) -> Path:
    """Its files as a kubelet lays them down: links to links to a folder that it can exchange."""
    files, ray_job = yaml.safe_load_all(manifest)
    pod = ray_job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    (volume,) = (one["configMap"] for one in pod["volumes"] if one["name"] == "job")
    assert volume["name"] == files["metadata"]["name"]
    for item in volume["items"]:
        file = folder / "..2026" / item["path"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(files["data"][item["key"]])
    (folder / "..data").symlink_to("..2026")
    for entry in (folder / "..2026").iterdir():
        (folder / entry.name).symlink_to(f"..data/{entry.name}")
    return folder / "job.yaml"


def test_a_rendered_job_runs_its_app(create, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mine = shutil.copytree(APPS / "memory", tmp_path / "mine")
    job = RunFolder.open(create(str(mine), rounds=2)).job()
    job_file = mounted(render(job, "rayjob"), tmp_path / "etc")
    shutil.rmtree(mine)
    run_dir = tmp_path / "in-the-pod"
    monkeypatch.setattr(sys, "argv", ["driver", str(run_dir), "--job", str(job_file)])
    assert driver.main() == 0
    assert json.loads((run_dir / "result.json").read_text())["step"] == 2
