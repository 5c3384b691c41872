"""deploy/Dockerfile without a container engine: its steps, in order, in debootstrap's Debian, and
then `covey doctor` and the demo as its user, with a root file system that cannot be written.

    python tests/deploy/chroot_image.py --folder /tmp/covey-image --arg TORCH_INDEX=

Needs root, debootstrap, 6 GB below --folder (removed at the end, unless --keep) and half an hour.
It reads the Dockerfile, so a step that fails here fails in an engine as well. Of what an engine
does it does not show layers, the base image (debootstrap's is close to it), and isolation.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
CERTIFICATES = "/run/certificates.crt"
LENT = {
    "/etc/resolv.conf": "/etc/resolv.conf",
    "/etc/pip.conf": "/etc/pip.conf",
    "/etc/ssl/certs/ca-certificates.crt": CERTIFICATES,
}
"""Of this machine, as far as it has them, while steps run: how it reaches package registries. What
/etc/pip.conf names is added with --lend.
"""
VOLUMES = ("tmp", "covey", "dev/shm")
SHOWN = (
    "id; covey doctor",
    "for file in /opt/covey/x /etc/x; do ! touch $file; done",
    "sh /usr/share/covey/demo.sh",
)
"""What is run in the image at last."""


@dataclass
class Stage:
    """A root in the making, and the settings that later steps have."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"

    def inside(self, path: str) -> Path:
        """Where a path of the stage is, relative ones below its WORKDIR."""
        return self.root / os.path.join(self.workdir, path).lstrip("/")


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction and its arguments, on one line."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in lines.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name.upper(), rest.strip()


class Image:
    """All stages below a folder. `given` are build arguments, `lent` paths in a root by paths of
    this machine.
    """

    def __init__(self, folder: Path, given: Mapping[str, str], lent: Mapping[str, str]) -> None:
        self.folder = folder
        self.given = given
        self.lent = lent
        self.stages: dict[str, Stage] = {}
        self.last: Stage | None = None
        self.seconds: list[tuple[float, str]] = []

    def build(self, text: str, built: bool = False) -> Stage:
        """Do all of a Dockerfile's steps; the last stage. `built`: their files are there."""
        for name, rest in instructions(text):
            started = time.monotonic()
            print(f"--> {name} {rest[:150]}", flush=True)
            if name == "FROM":
                self._begin(rest, built)
            elif built and name in ("RUN", "COPY"):
                continue
            elif self.last is not None:
                self._step(self.last, name, rest)
            elif name != "ARG":  # the base image's: debootstrap stands for it
                raise SystemExit(f"{name} before FROM")
            self.seconds.append((round(time.monotonic() - started, 1), f"{name} {rest[:60]}"))
        assert self.last is not None
        return self.last

    def _begin(self, rest: str, built: bool) -> None:
        name = rest.split()[2] if " AS " in rest else f"stage {len(self.stages)}"
        base = self.folder / "base"
        if not base.exists():
            half = self.folder / "base.half"
            command = ["debootstrap", "--variant=minbase", "bookworm", str(half)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            half.rename(base)
        root = self.folder / name.replace(" ", "-")
        if not built:
            shutil.rmtree(root, ignore_errors=True)
            subprocess.run(["cp", "--archive", str(base), str(root)], check=True)
        self.last = self.stages[name] = Stage(root)

    def _step(self, stage: Stage, name: str, rest: str) -> None:
        if name == "RUN":
            run(stage, rest, self.lent)
        elif name == "COPY":
            self._copy(stage, shlex.split(rest))
        elif name == "ENV":
            stage.environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif name == "ARG":
            key, _, default = rest.partition("=")
            stage.arguments[key] = self.given.get(key, default)
        elif name == "WORKDIR":
            stage.workdir = rest
            stage.inside("").mkdir(parents=True, exist_ok=True)
        elif name == "USER":
            stage.user = rest
        elif name != "ENTRYPOINT" or json.loads(rest) != ["covey"]:
            raise SystemExit(f"an instruction that this script cannot do: {name} {rest}")

    def _copy(self, stage: Stage, words: Sequence[str]) -> None:
        *sources, target = [word for word in words if not word.startswith("--")]
        start = next((word[7:] for word in words if word.startswith("--from=")), None)
        for source in sources:
            into = stage.inside(target)
            if start is not None:  # moved, not copied: the earlier stage has done its part
                shutil.move(self.stages[start].inside(source), into)
                continue
            for file in sorted(context(ROOT / source)):
                inner = file.relative_to(ROOT / source)
                there = into / inner if inner.parts else into / file.name
                if not inner.parts and not target.endswith("/"):
                    there = into
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, there, follow_symlinks=False)


def context(path: Path) -> Iterator[Path]:
    """The files at or below a path that the build context has."""
    ignored = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    wanted = [line[1:] for line in ignored if line.startswith("!")]
    for file in [path] if not path.is_dir() else path.rglob("*"):
        name = str(file.relative_to(ROOT))
        if file.is_dir() and not file.is_symlink():
            continue
        if any(fnmatch(name, each) or name.startswith(f"{each}/") for each in wanted):
            if "__pycache__" not in file.parts:
                yield file


def run(stage: Stage, command: str, lent: Mapping[str, str] | None = None) -> None:
    """A shell command in a stage, as its user; with nothing lent in the finished image, whose root
    is read-only but for its volumes.
    """
    script = [f"mount --bind {stage.root} {stage.root}"]
    script += [f"mount --rbind /dev {stage.root}/dev", f"mount -t proc proc {stage.root}/proc"]
    for path, inside in (lent or {}).items():
        there = Path(f"{stage.root}{inside}")
        if Path(path).is_dir():
            there.mkdir(parents=True, exist_ok=True)
        elif Path(path).is_file():
            there.parent.mkdir(parents=True, exist_ok=True)
            there.touch()
        else:
            continue
        script += [f"mount --bind {path} {there}", f"mount -o remount,bind,ro {there}"]
    passed = {"PATH": os.environ["PATH"]}
    if lent is None:
        uid, _, gid = stage.user.partition(":")
        options = f"uid={uid},gid={gid},mode=770"
        script.append(f"mount -o remount,bind,ro {stage.root}")
        script += [f"mount -t tmpfs -o {options} tmpfs {stage.root}/{path}" for path in VOLUMES]
    else:
        passed |= {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
        passed |= {"PIP_CERT": CERTIFICATES}
    settings = {**passed, **stage.arguments, **stage.environment}
    words = " ".join(shlex.quote(f"{key}={value}") for key, value in settings.items())
    inner = shlex.quote(f"umask 022; cd {stage.workdir}; {command}")
    chroot = f"{shutil.which('chroot')} --userspec={stage.user} {stage.root}"
    script.append(f"exec env -i {words} {chroot} sh -ec {inner}")
    # What the command leaves running ends with it: a scheduler, a Ray head.
    apart = ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child"]
    subprocess.run([*apart, "sh", "-ec", "\n".join(script)], check=True)


def main() -> int:
    """Build, show, and remove."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--arg", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--lend", action="append", default=[], metavar="PATH")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--built", action="store_true", help="after a run with --keep: only show")
    options = parser.parse_args()
    if re.search(r"\s", str(options.folder)):
        parser.error("--folder: without spaces, please")
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    lent = LENT | {path: path for path in options.lend}
    image = Image(folder, dict(each.split("=", 1) for each in options.arg), lent)
    try:
        stage = image.build(DOCKERFILE.read_text(), options.built)
        for command in SHOWN:
            started = time.monotonic()
            print(f"==> {command}", flush=True)
            run(stage, command)
            image.seconds.append((round(time.monotonic() - started, 1), command))
    finally:
        for seconds, what in image.seconds:
            print(f"{seconds:8.1f} s  {what}")
        if not options.keep:
            # Mounts were made in name spaces that ended with their commands.
            assert f" {folder}/" not in Path("/proc/mounts").read_text()
            shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
