"""Good manifests, and one fault planted in them."""

import json
import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from covey.platform.kubernetes.checking import check

ROOT = Path(__file__).parents[3]
MANIFESTS = Path(__file__).parent / "manifests"
CRDS = Path(os.environ.get("COVEY_KUBERAY_CRDS") or ROOT.parent / "shared" / "kuberay-crds")
ABSENT = object()
"""As a value: take away what stands there."""

needs_crds = pytest.mark.skipif(
    not CRDS.is_dir(), reason=f"no KubeRay definitions in {CRDS}; COVEY_KUBERAY_CRDS names them"
)


class Plant(NamedTuple):
    """One value of a good manifest replaced by one that is wrong."""

    document: str
    at: str
    value: Any
    words: str
    path: str = ""
    """Where the fault is told; empty: where the value was planted."""

    def __str__(self) -> str:
        return f"{self.document}:{self.at}"


@cache
def good() -> dict[str, str]:
    """The good objects of all manifests as JSON, in which nothing is shared, by their kinds."""
    texts = [file.read_text() for file in sorted(MANIFESTS.iterdir())]
    documents = [data for text in texts for data in yaml.safe_load_all(text)]
    return {data["kind"]: json.dumps(data) for data in documents}


def planted(plant: Plant) -> str:
    """The manifest with the fault in it."""
    data = json.loads(good()[plant.document])
    *above, last = _key(plant.at)
    at: Any = data
    for part in above:
        at = at[part] if isinstance(part, int) else at.setdefault(part, {})
    if plant.value is ABSENT:
        del at[last]
    elif isinstance(last, int) and last == len(at):
        at.append(plant.value)
    else:
        at[last] = plant.value
    return json.dumps(data)  # is YAML too


def _key(path: str) -> Sequence[str | int]:
    """The parts of a path such as spec.a[0].'b.c/d'."""
    parts = re.findall(r"'([^']+)'|\[(\d+)\]|([\w-]+)", path)
    return [int(index) if index else quoted or name for quoted, index, name in parts]


def assert_only_fault(plant: Plant, crds: Path | None) -> None:
    """The check finds the planted fault, where it is, in a line that says it, and nothing else."""
    faults = check(planted(plant), crds)
    assert [fault.path for fault in faults] == [plant.path or plant.at], faults
    assert re.search(plant.words, faults[0].message), faults
    assert plant.at == "kind" or faults[0].document.startswith((plant.document, "document 1"))
    assert len(str(faults[0]).splitlines()) == 1
