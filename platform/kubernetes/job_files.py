"""What a job needs beside the image: its job file, and the folders of code that it names.

They go to the cluster as a ConfigMap, whose files lie in the pods as FOLDER/job.yaml and beside it.
"""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from covey.platform.errors import UserError
from covey.platform.jobfile.load import dump_job_file
from covey.platform.jobfile.model import JobFile
from covey.platform.kubernetes.pods import Manifest

FOLDER = "/etc/covey"
MOST_BYTES = 700_000
"""Of all files; a ConfigMap holds a mebibyte, in base64."""
ELSE = (
    "leave out what is no code, or put it on the claim and submit the job to the scheduler on "
    "Kubernetes (deploy/README.md)"
)
LEFT_OUT = {"__pycache__", ".git", ".venv", "node_modules"}


@dataclass(frozen=True)
class JobFiles:
    """Contents by their paths below FOLDER."""

    contents: dict[str, bytes]

    @classmethod
    def of(cls, job: JobFile) -> "JobFiles":
        """The job as it runs in a pod. UserError for folders that are too large to be sent, and for
        other paths of this machine.
        """
        data: dict[str, Any] = yaml.safe_load(dump_job_file(job))
        data.pop("kubernetes", None)
        contents: dict[str, bytes] = {}
        for holder, key, value in list(local_paths(data)):
            path = Path(value)
            if key != "code" and not _is_app(path):
                raise UserError(
                    f"{key}: {value} lies on this machine only; put it on the claim, in data, and "
                    "name it there (data sets of `covey data get` need no path)"
                )
            name = f"{key}-{path.name}"
            holder[key] = name
            contents |= _files(path, name)
        text = yaml.safe_dump(data, sort_keys=False)
        contents["job.yaml"] = text.encode()
        size = sum(map(len, contents.values()))
        if size > MOST_BYTES:
            raise UserError(
                f"the job file and its folders are {size:,} bytes, and {MOST_BYTES:,} can be sent; "
                f"{ELSE}"
            )
        return cls(contents)

    def config_map(self, metadata: Manifest) -> Manifest:
        """The ConfigMap; `volume` says where its files go."""
        texts, others = {}, {}
        for key, path in self._keys().items():
            try:
                texts[key] = self.contents[path].decode()
            except UnicodeDecodeError:
                others[key] = b64encode(self.contents[path]).decode()
        kind = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        return kind | {"data": texts} | ({"binaryData": others} if others else {})

    def volume(self, config_map: str) -> Manifest:
        """To be mounted at FOLDER."""
        items = [{"key": key, "path": path} for key, path in self._keys().items()]
        return {"name": "job", "configMap": {"name": config_map, "items": items}}

    def _keys(self) -> dict[str, str]:
        """Paths by key: keys have no slashes."""
        return {
            "job.yaml" if path == "job.yaml" else f"file-{number}": path
            for number, path in enumerate(sorted(self.contents))
        }


def local_paths(data: Any) -> Iterator[tuple[dict[str, Any], str, str]]:
    """All values that are absolute paths of something here, with who holds them under which key."""
    if not isinstance(data, dict):
        return
    for key, value in data.items():
        if isinstance(value, str) and value.startswith("/") and Path(value).exists():
            yield data, key, value
        yield from local_paths(value)


def app_folders(job: JobFile) -> list[str]:
    """The folders of code that a job's own section names, each once: those of Flower apps."""
    section = yaml.safe_load(dump_job_file(job)).get(job.workload)
    return sorted({value for _, _, value in local_paths(section) if _is_app(Path(value))})


def _is_app(path: Path) -> bool:
    return (path / "pyproject.toml").is_file()


def _files(folder: Path, name: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    room = MOST_BYTES
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        if not file.is_file() or LEFT_OUT.intersection(inside.parts):
            continue
        room -= file.stat().st_size
        if room < 0:
            raise UserError(
                f"{folder} holds more than the {MOST_BYTES:,} bytes that can be sent; {ELSE}"
            )
        found[f"{name}/{inside}"] = file.read_bytes()
    return found
