"""`--set rl.algorithm.learning_rate=1e-3`: changes to a job file from the command line."""

from collections.abc import Sequence
from typing import Any

from covey.platform.errors import Key, KeyProblem
from covey.platform.jobfile.document import MAX_DEPTH, Document
from covey.platform.jobfile.words import found, one_line, show_key
from covey.platform.jobfile.yaml_text import NotYaml, read_yaml


def apply_overrides(document: Document, overrides: Sequence[str]) -> None:
    """Put each `key=value` into the document, later ones over earlier ones."""
    for text in overrides:
        _apply(document, text)


def _apply(document: Document, text: str) -> None:
    dotted, equals, value_text = text.partition("=")
    key: Key = tuple(dotted.strip().split("."))
    problem: str | None
    place = one_line(f"{document.source}, --set {text[:100]}")
    if not equals or not all(key) or len(key) > MAX_DEPTH:
        key = key[:MAX_DEPTH]
        problem = f"found {found(text)}, allowed is key=value with a key such as stop.env_steps"
    else:
        _forget_places(document, key)
        problem = _put(document, key, value_text, place)
    if problem:
        document.places[key] = place
        document.problems.append(KeyProblem(key, problem))


def _put(document: Document, key: Key, value_text: str, place: str) -> str | None:
    """Put the value in; gives what stands against it, if anything does."""
    try:
        value = read_yaml(value_text, key, lambda _line: place, document)
    except NotYaml as error:
        return f"found {found(value_text)}, which is {error.reason}"
    section: dict[str, Any] = document.data
    for depth, part in enumerate(key[:-1]):
        # A section whose keys are all left out reads as null in YAML.
        if section.get(str(part)) is None:
            section[str(part)] = {}
        inner = section[str(part)]
        if not isinstance(inner, dict):
            upper = show_key(key[: depth + 1])
            return f"cannot be set, since {upper} is {found(inner)}, no section"
        section = inner
    document.places[key] = place
    section[str(key[-1])] = value
    return None


def _forget_places(document: Document, key: Key) -> None:
    """Lines of what the override replaces would mislead."""
    for known in [known for known in document.places if known[: len(key)] == key]:
        del document.places[known]
