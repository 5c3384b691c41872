"""The schemas of KubeRay's kinds, from the files of its custom resource definitions.

The project does not carry them: they are in the folder `ray-operator/config/crd/bases` of KubeRay.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from covey.platform.errors import UserError

FILES = {"RayCluster": "ray.io_rayclusters.yaml", "RayJob": "ray.io_rayjobs.yaml"}
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def crd_file(kind: str, crds: Path | None) -> Path | None:
    """The file with the definition of `kind`; None when the folder lacks it or there is none."""
    file = crds / FILES[kind] if crds is not None and kind in FILES else None
    return file if file is not None and file.is_file() else None


@lru_cache
def read_crd(file: Path, version: str = "v1") -> dict[str, Any]:
    """The schema of that version. Raises UserError where the file is no definition that has it.

    Takes a third of a second on an idle machine, most of a check.
    """
    try:
        definition = yaml.load(file.read_bytes(), Loader=Loader)
        versions = {each["name"]: each for each in definition["spec"]["versions"]}
        schema: dict[str, Any] = versions[version]["schema"]["openAPIV3Schema"]
        return schema
    except (yaml.YAMLError, KeyError, TypeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file}: no custom resource definition of {version}: {reason}") from None
