"""`covey site-keys`: the Secrets that `covey render --target flower` refers to."""

import re
from pathlib import Path
from typing import Annotated

import typer

from covey.platform.cli.output import Json, Overrides, note, print_json, say
from covey.platform.errors import UserError

HOST = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.:]{0,251}[A-Za-z0-9])?")


def site_keys(
    file: Annotated[Path, typer.Argument(help="The job file (YAML) of a federation.")],
    out: Annotated[Path, typer.Option(help="The folder to make.", metavar="DIR")],
    address: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST", help="By which sites elsewhere reach the SuperLink; may be repeated."
        ),
    ] = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Make keys and certificates for the sites of a federation on Kubernetes, as Secrets."""
    from covey.federation.section import FederatedSection
    from covey.federation.site_keys import make_site_keys
    from covey.platform.jobfile.load import load_job_file

    for host in address or ():
        if not HOST.fullmatch(host):
            raise UserError(f"--address {host}: neither a host name nor an IP address")
    job = load_job_file(file, overrides or ())
    if not isinstance(job.section, FederatedSection):
        raise UserError(f"{file}: workload {job.workload} has no sites; federated has")
    files = make_site_keys(job, out, address or ())
    if as_json:
        print_json({"dir": str(out), "files": [str(each) for each in files]})
        return
    say(f"{out}: Secrets for the SuperLink, the job and {len(files) - 3} sites")
    note(f"kubectl apply -f {out}; a site elsewhere needs its own file only. They are private")
