"""Manifests of a job file, as YAML documents for `kubectl apply`."""

from collections.abc import Callable, Sequence

import yaml

from covey.platform.errors import UserError
from covey.platform.jobfile.model import JobFile
from covey.platform.kubernetes.pods import Manifest
from covey.platform.kubernetes.ray_kinds import ray_cluster, ray_job
from covey.platform.workload import Sited, find_workload


def flower(job: JobFile) -> list[Manifest]:
    """A federation's SuperLink, SuperNodes and job."""
    workload = find_workload(job.workload)
    if not isinstance(workload, Sited):
        raise UserError(
            f"workload: {job.workload}, and --target flower is for federations on sites; use "
            "--target rayjob"
        )
    return list(workload.site_manifests(job))


TARGETS: dict[str, Callable[[JobFile], list[Manifest]]] = {
    "rayjob": ray_job,
    "raycluster": ray_cluster,
    "flower": flower,
}


def render(job: JobFile, target: str) -> str:
    """The target's documents; UserError for a job that cannot be run so."""
    return as_yaml(TARGETS[target](job))


def as_yaml(manifests: Sequence[Manifest]) -> str:
    """One after the other; long texts as blocks, nothing shared by anchors."""
    return yaml.dump_all(manifests, Dumper=_Dumper, sort_keys=False, width=100)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
