"""What a job file's JSON Schema allows at a key: names of keys, and values in words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from covey.platform.errors import Key

MAX_NAMES = 30
KINDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


@dataclass(frozen=True)
class Allowed:
    """One node of a JSON Schema as pydantic makes it, with the definitions it may refer to."""

    node: Mapping[str, Any]
    definitions: Mapping[str, Any]

    def at(self, location: Key) -> tuple[Key, "Allowed"]:
        """The key that an error's location means, and what is allowed there.

        Where several shapes are possible pydantic puts a label for the one it tried into the
        location: that is no key of the file and is left out here.
        """
        key: Key = ()
        here = self
        for index, part in enumerate(location):
            chosen = here.tagged(part)
            child = here.child(part)
            if chosen is not None:
                here = chosen
            elif child is not None:
                key, here = (*key, part), child
            elif index == len(location) - 1 and len(here.branches()) == 1:
                key, here = (*key, part), Allowed({}, self.definitions)
        return key, here

    def branches(self) -> list["Allowed"]:
        """The shapes that a value may have here; null is left out where there are others."""
        node = self.node
        if "$ref" in node:
            name = str(node["$ref"]).rpartition("/")[2]
            return Allowed(self.definitions[name], self.definitions).branches()
        options = node.get("anyOf") or node.get("oneOf")
        if not options:
            return [self]
        inner = [Allowed(option, self.definitions).branches() for option in options]
        parts = list(chain.from_iterable(inner))
        return [part for part in parts if part.node.get("type") != "null"] or parts

    def tagged(self, tag: str | int) -> "Allowed | None":
        """The shape that a tag such as an algorithm's name selects, where one does."""
        reference = self.discriminator().get("mapping", {}).get(tag)
        return reference and Allowed({"$ref": reference}, self.definitions)

    def discriminator(self) -> Mapping[str, Any]:
        """Which key selects the shape, and the shapes by its values; empty where none does."""
        places = [self.node, *self.node.get("anyOf", ())]  # the second where null is allowed too
        return next((p["discriminator"] for p in places if "discriminator" in p), {})

    def child(self, part: str | int) -> "Allowed | None":
        """What is allowed one key or one list index deeper."""
        for branch in self.branches():
            if isinstance(part, int):
                node = branch.node.get("items")
            else:
                node = branch.node.get("properties", {}).get(part)
                node = branch.node.get("additionalProperties") if node is None else node
            if isinstance(node, Mapping):
                return Allowed(node, self.definitions)
            if node is True:
                return Allowed({}, self.definitions)
        return None

    def keys(self) -> list[str]:
        """The names of keys that a section may have here."""
        return list(dict.fromkeys(k for b in self.branches() for k in b.node.get("properties", {})))

    def deep_keys(self, depth: int = 4) -> Iterator[Key]:
        """The paths of all keys from here on, nearer ones first within a branch."""
        for name in self.keys() if depth else []:
            yield (name,)
            child = self.child(name)
            for deeper in child.deep_keys(depth - 1) if child else ():
                yield (name, *deeper)

    def words(self) -> list[str]:
        """The exact texts that are allowed here, if any are."""
        tags = self.discriminator().get("mapping", {})
        texts = [
            text
            for branch in self.branches()
            for text in branch.node.get("enum", [branch.node.get("const")])
            if isinstance(text, str)
        ]
        return list(tags) or texts

    def kinds(self) -> set[str]:
        """JSON Schema's names of the types allowed here."""
        return {str(branch.node.get("type", "any")) for branch in self.branches()}

    def describe(self, unit: str = "") -> str:
        """What is allowed here in words; `unit` such as " of seconds" goes with numbers."""
        return " or ".join(dict.fromkeys(branch._describe(unit) for branch in self.branches()))

    def _describe(self, unit: str) -> str:
        node = self.node
        exact = node.get("enum", [node["const"]] if "const" in node else None)
        if exact is not None:
            return " or ".join(map(str, exact))
        kind = str(node.get("type", "any"))
        if kind == "array":
            items = node.get("items")
            inside = Allowed(items, self.definitions).describe(unit) if items else "anything"
            return f"a list of {inside}"
        if kind == "object":
            return listed("a section with the keys ", self.keys()) if self.keys() else "a mapping"
        if kind == "string" and "pattern" in node:
            return f"text like {node['pattern']}".rstrip("$").replace("like ^", "like ")
        if kind in ("integer", "number"):
            return KINDS[kind] + unit + self._bounds()
        return KINDS.get(kind, "another value")

    def _bounds(self) -> str:
        signs = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
        bounds = [f"{sign} {self.node[name]}" for name, sign in signs.items() if name in self.node]
        return " " + " and ".join(bounds) if bounds else ""


def listed(before: str, names: list[str]) -> str:
    """`before` and the names, cut off where nobody reads on."""
    more = len(names) - MAX_NAMES
    return before + ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
