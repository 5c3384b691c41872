"""How the files of `covey peers` are read: YAML, checked, each mistake one line with its place."""

import json
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, ValidationError

from covey.platform.errors import UserError
from covey.platform.jobfile.document import Document, plain
from covey.platform.jobfile.model import NAME_PATTERN, Section
from covey.platform.jobfile.problems import value_problems
from covey.platform.jobfile.words import found, one_line, show_key
from covey.platform.jobfile.yaml_text import NotYaml, read_yaml

MAX_BYTES = 2**24
Model = TypeVar("Model", bound=BaseModel)
PeerName = Annotated[str, Field(pattern=NAME_PATTERN)]
Address = Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]{1,253}):[0-9]{1,5}$")]
"""HOST:PORT; an IPv6 address stands in brackets."""
Fingerprint = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 of a certificate, as `openssl x509 -fingerprint -sha256` shows it but for the colons."""


class PeerEntry(Section):
    """A peer, as the others know it."""

    address: Address
    fingerprint: Fingerprint
    """Of its certificate; with another one, whoever signed it, it is not believed."""


class PeerList(Section):
    """`peers.yaml`: the same on every machine."""

    run: PeerName
    """Messages of other runs are refused."""
    peers: dict[PeerName, PeerEntry]


def read_model(path: Path, model: type[Model]) -> Model:
    """A YAML file as a checked model; UserError with a line for each mistake."""
    document = Document(one_line(str(path)))
    try:
        data = read_yaml(_read(path), (), lambda line: f"{document.source}:{line}", document)
    except NotYaml as error:
        place = document.source if error.line is None else f"{document.source}:{error.line}"
        raise UserError(f"{place}: {error.reason}") from None
    if not isinstance(data, dict):
        raise UserError(f"{document.source}: found {found(data)}, allowed are keys and values")
    problems, checked = document.problems, None
    try:
        checked = model.model_validate_json(json.dumps(plain(data, (), problems)))
    except ValidationError as error:
        problems.extend(value_problems(error, model, data))
    if problems or checked is None:
        lines = (
            one_line(f"{document.place(problem.key)}: {show_key(problem.key)}: {problem.message}")
            for problem in problems
        )
        raise UserError("\n".join(lines))
    return checked


def read_revoked(path: Path) -> frozenset[str]:
    """The fingerprints in a list; what follows a # is a remark. UserError names a wrong line."""
    revoked = set()
    for number, line in enumerate(_read(path).splitlines(), 1):
        text = line.partition("#")[0].strip().lower().replace(":", "")
        if text and (len(text) != 64 or set(text) - set("0123456789abcdef")):
            raise UserError(f"{path}:{number}: {found(text)} is no SHA-256 fingerprint")
        revoked.add(text)
    return frozenset(revoked - {""})


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: larger than {MAX_BYTES} bytes")
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
