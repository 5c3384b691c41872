"""The schemas of Kubernetes' own kinds, from the library kubernetes-validate.

Only its schemas are used: its own validator tells one mistake at a time, without the right names.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.version import Version

Kind = tuple[str, str, str]
"""Group ("" for core), version and kind."""
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


@dataclass(frozen=True)
class CoreKinds:
    """All schemas of one version of Kubernetes."""

    version: str
    definitions: Mapping[str, Mapping[str, Any]]
    names: Mapping[Kind, str]

    def schema(self, kind: Kind) -> Mapping[str, Any] | None:
        name = self.names.get(kind)
        return self.definitions[name] if name else None

    def groups(self) -> set[str]:
        return {group for group, _, _ in self.names}


@lru_cache
def core_kinds() -> CoreKinds:
    """Those of the newest version of Kubernetes that the library knows."""
    spec = find_spec("kubernetes_validate")  # importing it would cost 0.3 s
    assert spec is not None and spec.submodule_search_locations
    schemas = Path(spec.submodule_search_locations[0]) / "kubernetes-json-schema"
    folders = {_version(folder): folder for folder in schemas.glob("v*-local-strict")}
    newest = max(folders)
    definitions = json.loads((folders[newest] / "_definitions.json").read_bytes())["$defs"]
    names = {
        (each["group"], each["version"], each["kind"]): name
        for name, schema in definitions.items()
        for each in schema.get("x-kubernetes-group-version-kind", ())
    }
    return CoreKinds(str(newest), definitions, names)


def _version(folder: Path) -> Version:
    return Version(folder.name.removeprefix("v").removesuffix("-local-strict"))
