"""What Kubernetes allows as a name, a label, a port, a quantity: each tells what is possible."""

import re
from collections.abc import Mapping
from decimal import Decimal

from covey.platform.errors import Key
from covey.platform.jobfile.words import found
from covey.platform.kubernetes.faults import Finding, Findings

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")
ENV_NAME = re.compile(r"[ -<>-~]+")
CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
QUANTITY = re.compile(
    r"([+-]?)([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?"
)
DECIMAL_UNITS = {unit: 3 * power for power, unit in enumerate("num kMGTPE", -3)}
BINARY_UNITS = {unit + "i": 2 ** (10 * power) for power, unit in enumerate("KMGTPE", 1)}
MAX_ANNOTATIONS = 256 * 1024


def dns_label(name: str) -> str | None:
    return _name(name, LABEL, 63, "small letters, digits and '-', first and last no '-'")


def dns_label_1035(name: str, longest: int = 63) -> str | None:
    return _name(
        name, LABEL_1035, longest, "small letters, digits and '-', first a letter, last no '-'"
    )


def dns_subdomain(name: str, longest: int = 253) -> str | None:
    return _name(
        name, SUBDOMAIN, longest, "small letters, digits, '-' and '.', first and last no '-' or '.'"
    )


def path_segment(name: str) -> str | None:
    """The names of roles and their bindings: anything that may stand in a path."""
    if name in (".", "..") or "/" in name or "%" in name:
        return f"found {found(name)}, allowed is a name without / and %"
    return None


def port_name(name: str) -> str | None:
    return _name(name, PORT_NAME, 15, "small letters, digits and single '-', at least one letter")


def env_name(name: str) -> str | None:
    return _name(name, ENV_NAME, 10_000, "printable ASCII without '='")


def config_key(name: str) -> str | None:
    if name in (".", "..") or name.startswith(".."):
        return f"found {found(name)}, allowed is a key that does not begin with '..'"
    return _name(name, CONFIG_KEY, 253, "letters, digits, '-', '_' and '.'")


def label_value(value: str) -> str | None:
    return _name(value, NAME, 63, _NAME_WORDS) if value else None


def qualified_name(name: str) -> str | None:
    """A label's key or an extended resource: a name, before it perhaps a domain and a slash."""
    domain, slash, last = name.rpartition("/")
    if slash and (wrong := dns_subdomain(domain)):
        return f"before the / in {found(name)}: {wrong}"
    return _name(last, NAME, 63, _NAME_WORDS)


_NAME_WORDS = "letters, digits, '-', '_' and '.', first and last a letter or a digit"


def _name(name: str, pattern: re.Pattern[str], longest: int, words: str) -> str | None:
    if len(name) > longest:
        return f"holds {len(name)} characters, allowed are {longest}"
    if not pattern.fullmatch(name):
        return f"found {found(name)}, allowed are {words}"
    return None


def quantity(value: object) -> Decimal | None:
    """The number that "500m", "2Gi" or 4 stands for; None for what is no quantity."""
    match = QUANTITY.fullmatch(str(value))
    if isinstance(value, bool) or match is None or len(str(value)) > 100:
        return None
    sign, digits, unit = match.groups()
    amount = Decimal(f"{sign}{digits}")
    if unit in BINARY_UNITS:
        return amount * Decimal(BINARY_UNITS[unit])
    if unit and unit[0] in "eE" and len(unit) > 1:
        return amount.scaleb(int(unit[1:])) if len(unit) < 5 else None
    return amount.scaleb(DECIMAL_UNITS[unit or " "])


def label_findings(labels: Mapping[str, str], key: Key) -> Findings:
    """Wrong keys and values of `labels`, which stand at `key`."""
    for name, value in labels.items():
        if wrong := qualified_name(name) or label_value(value):
            yield Finding((*key, name), wrong)


def annotation_findings(annotations: Mapping[str, str], key: Key) -> Findings:
    """Wrong keys of `annotations`, which stand at `key`, and too many bytes in all."""
    for name in annotations:
        if wrong := qualified_name(name.lower()):
            yield Finding((*key, name), wrong)
    size = sum(len(name.encode()) + len(value.encode()) for name, value in annotations.items())
    if size > MAX_ANNOTATIONS:
        yield Finding(key, f"hold {size} bytes in all, allowed are {MAX_ANNOTATIONS}")


def port_findings(value: object, key: Key) -> Findings:
    """A port as a number or by its name."""
    if isinstance(value, int) and not isinstance(value, bool) and not 1 <= value <= 65535:
        yield Finding(key, f"found {found(value)}, allowed is a port from 1 to 65535")
    elif isinstance(value, str) and (wrong := port_name(value)):
        yield Finding(key, wrong)
