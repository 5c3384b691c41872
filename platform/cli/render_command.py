"""The verb on Kubernetes manifests: render."""

from pathlib import Path
from typing import Annotated

import typer

from covey.platform.cli.output import Json, note, print_json, say
from covey.platform.environment import kuberay_crds
from covey.platform.errors import UserError


def render(
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
    """Check a Kubernetes manifest without a cluster."""
    if check_file is None:
        raise UserError("give --check-file MANIFEST")
    check_text(_read(check_file), str(check_file), crds, as_json)


def check_text(text: str, source: str, crds: Path | None, as_json: bool) -> None:
    """Tell what is wrong with a manifest; raises typer.Exit(1) where something is."""
    from covey.platform.kubernetes.checking import check, not_checked

    if crds is not None and not crds.is_dir():
        raise UserError(f"{crds}: no folder; --crds names that of KubeRay's definitions")
    folder = crds or kuberay_crds()
    faults = check(text, folder)
    for line in not_checked(text, folder):
        note(line)
    if as_json:
        print_json([vars(fault) for fault in faults])
    else:
        for fault in faults:
            note(str(fault))
    if faults:
        raise typer.Exit(1)
    if not as_json:
        say(f"{source}: nothing wrong")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{file}: not UTF-8 text") from None
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
