"""The verb on Kubernetes manifests: render."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from covey.platform.cli.output import Json, Overrides, note, print_json, say
from covey.platform.environment import kuberay_crds
from covey.platform.errors import UserError

if TYPE_CHECKING:
    from covey.platform.kubernetes.faults import Fault


def render(
    file: Annotated[Path | None, typer.Argument(help="The job file (YAML).")] = None,
    target: Annotated[
        str,
        typer.Option(
            help="rayjob: a cluster for the job; raycluster: a standing one; flower: a SuperLink, "
            "SuperNodes and the job."
        ),
    ] = "rayjob",
    overrides: Overrides = None,
    checks: Annotated[
        bool, typer.Option("--check", help="Check the manifest too, as with --check-file.")
    ] = False,
    check_file: Annotated[
        Path | None,
        typer.Option(metavar="MANIFEST", help="Check this manifest, as a cluster would."),
    ] = None,
    crds: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The folder of KubeRay's definitions. Default: COVEY_KUBERAY_CRDS, if set.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the Kubernetes manifest of a job file; or check one, without a cluster."""
    if (file is None) == (check_file is None):
        raise UserError("give a job file, or --check-file MANIFEST")
    if check_file is not None:
        faults = _faults(_read(check_file), crds)
        if as_json:
            print_json([vars(fault) for fault in faults])
        elif not faults:
            say(f"{check_file}: nothing wrong")
    else:
        assert file is not None
        text = _rendered(file, target, overrides or (), checks)
        if as_json:
            print_json(list(yaml.safe_load_all(text)))
        else:
            sys.stdout.write(text)
        faults = _faults(text, crds) if checks else []
    if not as_json or check_file is None:
        for fault in faults:
            note(str(fault))
    if faults:
        raise typer.Exit(1)


def _rendered(file: Path, target: str, overrides: Sequence[str], checks: bool) -> str:
    """The manifest; with `checks` what the job file leaves open is noted."""
    from covey.platform.jobfile.load import load_job_file
    from covey.platform.kubernetes.credentials import store_note
    from covey.platform.kubernetes.rendering import TARGETS, render

    if target not in TARGETS:
        raise UserError(f"--target {target}: allowed is {', '.join(TARGETS)}")
    job = load_job_file(file, overrides)
    text = render(job, target)
    if checks and (line := store_note(job)):
        note(line)
    return text


def _faults(text: str, crds: Path | None) -> "list[Fault]":
    """What is wrong with a manifest; what could not be checked is noted."""
    from covey.platform.kubernetes.checking import check, not_checked

    if crds is not None and not crds.is_dir():
        raise UserError(f"{crds}: no folder; --crds names that of KubeRay's definitions")
    folder = crds or kuberay_crds()
    for line in not_checked(text, folder):
        note(line)
    return check(text, folder)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{file}: not UTF-8 text") from None
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
