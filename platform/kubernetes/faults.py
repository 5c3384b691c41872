"""What a check finds, and how its rules reach into data that may be of any shape."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from covey.platform.errors import Key
from covey.platform.jobfile.words import one_line, show_key


@dataclass(frozen=True)
class Fault:
    """Something that a server or the operator would refuse, in one line.

    `document` is kind/name (or "document 2"), `path` such as spec.workerGroupSpecs[0].minReplicas.
    """

    document: str
    path: str
    message: str

    def __str__(self) -> str:
        return one_line(f"{self.document}: {self.path}: {self.message}")


@dataclass(frozen=True)
class Finding:
    """A fault as a rule finds it, which does not know the document.

    `meant` is set for an unknown field: the key that was most likely meant, which no other rule
    need miss, or its own.
    """

    key: Key
    message: str
    meant: Key | None = None


Findings = Iterator[Finding]


MAX_FINDINGS = 100


class Found:
    """The findings of one document: one for each place, the first that was found there.

    What is said of a place covers all below it: an item that is no mapping has no name either.
    """

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._covered: set[Key] = set()

    def add(self, findings: Iterable[Finding]) -> None:
        """Add what is found at places of which nothing was said when this call began or since."""
        for finding in findings:
            if len(self.findings) == MAX_FINDINGS:
                return
            if not any(finding.key[:length] in self._covered for length in self._lengths(finding)):
                self.findings.append(finding)
                self._covered |= {finding.key, finding.meant or finding.key}

    def _lengths(self, finding: Finding) -> range:
        return range(1, len(finding.key) + 1)

    def faults(self, document: str) -> list[Fault]:
        faults = [
            Fault(document, show_key(finding.key), one_line(finding.message))
            for finding in self.findings
        ]
        if len(faults) == MAX_FINDINGS:
            more = f"no more than {MAX_FINDINGS} faults are looked for in one document"
            faults.append(Fault(document, show_key(()), more))
        return faults


def mapping(value: object, *names: str | int) -> Mapping[str, Any]:
    """The mapping under these keys; empty where there is none."""
    for name in names:
        if isinstance(name, int):
            value = value[name] if isinstance(value, list) and name < len(value) else None
        else:
            value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def rows(value: object, name: str, key: Key = ()) -> list[tuple[Key, Mapping[str, Any]]]:
    """The mappings in the list `value[name]`, each with its key; `key` is where `value` stands."""
    items = value.get(name) if isinstance(value, Mapping) else None
    found = enumerate(items) if isinstance(items, list) else ()
    return [((*key, name, place), item) for place, item in found if isinstance(item, Mapping)]


def text(value: object, name: str) -> str:
    """The text `value[name]`; empty where there is none."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, str) else ""


def number(value: object, name: str) -> int | None:
    """The whole number `value[name]`, if it is one."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def texts(value: object, name: str) -> dict[str, str]:
    """The texts in the mapping `value[name]`."""
    return {k: v for k, v in mapping(value, name).items() if isinstance(v, str)}


def repeated(items: Iterable[tuple[Key, str | None]]) -> Findings:
    """A finding at each value that an earlier key has already; empty and absent ones are none."""
    seen: set[str] = set()
    for key, value in items:
        if value in seen:
            yield Finding(key, f"{value} stands twice, allowed is once")
        if value:
            seen.add(value)
