"""The `superlink:` part of a federated job: which SuperLink carries its messages."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field

from covey.platform.errors import KeyProblem
from covey.platform.jobfile.model import Positive, Section

MOST_STARTED = 64
"""A SuperNode is two processes of about 100 MB each, and a third while its client trains."""


class SuperLinkSection(Section):
    """The SuperLink of `engine: superlink`: started by the job on loopback unless `address` says
    otherwise.
    """

    address: str | None = None
    """host:port of a SuperLink that runs already, with `--isolation process`; its SuperNodes are
    not the job's. Left out: the job starts one, and a SuperNode for each client.
    """
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port on loopback of the SuperLink that the job starts; a free one if left out."""
    root_certificates: str | None = None
    """PEM file of the authority that signed the SuperLink's certificate. Left out: the system's,
    or with a SuperLink of the job's own, one made for the run.
    """
    certificate: str | None = None
    """PEM file for the SuperLink that the job starts, valid for 127.0.0.1; made if left out."""
    key: str | None = None
    """PEM file of that certificate's private key."""
    superexec_secret: str | None = None
    """The file that the SuperLink at `address` was given as `--superexec-auth-secret-file`."""
    wait_s: Positive = 300.0
    """How long the SuperLink, and then as many SuperNodes as `clients`, may take to be there."""


FILES = ("root_certificates", "certificate", "key", "superexec_secret")


def resolve_superlink(
    section: SuperLinkSection | None, clients: int, base: Path
) -> SuperLinkSection:
    """With absolute paths; raises KeyProblem for what cannot be."""
    section = section or SuperLinkSection()
    started = ("certificate", "key", "port")
    if section.address is not None:
        if not re.fullmatch(r"\[[0-9a-fA-F:]+\]:\d{1,5}|[^:/\s]+:\d{1,5}", section.address):
            raise _problem("address", f"found {section.address!r}, wanted is host:port")
        _refuse(section, started, "is for a SuperLink that the job starts; leave it or address out")
    else:
        _refuse(section, ("superexec_secret",), "is for a SuperLink with an address")
        if clients > MOST_STARTED:
            raise KeyProblem(
                ("federated", "clients"),
                f"found {clients}; engine superlink starts a SuperNode for each, at most "
                f"{MOST_STARTED}: use another engine, or name a SuperLink in superlink.address",
            )
        named = [name for name in FILES[:3] if getattr(section, name) is not None]
        if named and len(named) < 3:
            missing = next(name for name in FILES[:3] if name not in named)
            raise _problem(missing, f"is missing beside {' and '.join(named)}")
    return section.model_copy(update={name: _file(section, name, base) for name in FILES})


def _refuse(section: SuperLinkSection, names: tuple[str, ...], reason: str) -> None:
    for name in names:
        if getattr(section, name) is not None:
            raise _problem(name, reason)


def _file(section: SuperLinkSection, name: str, base: Path) -> str | None:
    value: str | None = getattr(section, name)
    if value is None:
        return None
    file = Path(base, Path(value).expanduser()).absolute()
    if not file.is_file():
        raise _problem(name, f"there is no file {file}")
    return str(file)


def _problem(key: str, message: str) -> KeyProblem:
    return KeyProblem(("federated", "superlink", key), message)
