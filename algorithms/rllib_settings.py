"""What RLlib lets one set for each algorithm, read from RLlib's source text.

Importing RLlib takes seconds and reading its source a tenth of one, so a job file is checked
without it. Nearby, `rllib_workload.py` turns what does not fit into a KeyProblem.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from pydantic import JsonValue

BASE = "Algorithm"
"""The configuration that all algorithms' configurations extend is called AlgorithmConfig."""

BEHIND_PROPERTIES = {
    "model_config": "_model_config",
    "train_batch_size_per_learner": "_train_batch_size_per_learner",
}
"""Settings that RLlib keeps in a private attribute."""

KINDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "list": "a list",
    "dict": "a section",
}
CODE = "code"
_KIND_OF_NAME = {
    **{name: {name} for name in KINDS},
    "LearningRateOrSchedule": {"float", "list"},
    "Dict": {"dict"},
    "List": {"list"},
    "Tuple": {"list"},
    "tuple": {"list"},
    "Callable": {CODE},
    "Type": {CODE},
    "type": {CODE},
}
_CODE_NAME = re.compile(r"callbacks_.*|.*_(class|cls|mapping_fn|to_train)|.*_connector")


@dataclass(frozen=True)
class Setting:
    """One attribute. `kinds` is empty when RLlib does not say what it may hold."""

    default: JsonValue
    """None also where RLlib computes it."""
    kinds: frozenset[str]

    @property
    def is_code(self) -> bool:
        """Whether it takes a class or a function, which a job file cannot hold."""
        return CODE in self.kinds and self.default is None

    def takes(self, value: JsonValue) -> bool:
        """Whether a value is of a kind that RLlib allows; numbers may be schedules (lists)."""
        numbers = bool(self.kinds & {"int", "float"})
        if value is None or not self.kinds:
            return True
        if isinstance(value, bool):
            return "bool" in self.kinds
        if isinstance(value, int):
            return numbers
        if isinstance(value, float):
            return "float" in self.kinds
        if isinstance(value, list):
            return "list" in self.kinds or numbers
        return ("str" if isinstance(value, str) else "dict") in self.kinds

    def describe(self) -> str:
        """The kinds in words."""
        kinds = self.kinds - {"int"} if "float" in self.kinds else self.kinds
        return " or ".join(text for kind, text in KINDS.items() if kind in kinds)


def algorithm_names() -> tuple[str, ...]:
    """RLlib's algorithms, sorted."""
    return tuple(sorted(_files()))


@lru_cache
def settings(algorithm: str) -> Mapping[str, Setting]:
    """Everything that can be set for an algorithm, its ancestors' settings included.

    KeyError for a name that is not one of `algorithm_names`.
    """
    defaults: dict[str, JsonValue] = {}
    known: dict[str, frozenset[str]] = {}
    for node in _ancestry(algorithm):
        for name, value in _assigned(node):
            if isinstance(value, ast.Name) and value.id == "DEPRECATED_VALUE":
                defaults.pop(name, None)
            else:
                defaults[name] = _literal(value)
        for name, annotation in _annotated(node):
            known[name] = known.get(name, frozenset()) | _kinds(annotation)
    found = {name: defaults[name] for name in defaults if not name.startswith("_")}
    found |= {name: defaults[kept] for name, kept in BEHIND_PROPERTIES.items() if kept in defaults}
    return {
        name: Setting(default, _with_default(name, known.get(name, frozenset()), default))
        for name, default in found.items()
    }


@lru_cache
def _files() -> dict[str, Path]:
    """The source file of each algorithm's configuration: <name>/<name>.py holds <Name>Config."""
    spec = find_spec("ray")  # finds the package without importing it
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "rllib" / "algorithms"
    found = {}
    for path in folder.glob("*/*.py"):
        if path.stem == path.parent.name:
            names = re.findall(r"^class (\w+)Config\(", path.read_text(), re.MULTILINE)
            found.update({name: path for name in names if name.lower() == path.stem})
    return found


def _ancestry(algorithm: str) -> list[ast.ClassDef]:
    """The classes of an algorithm's configuration, the most general one first."""
    if algorithm == BASE:
        path = next(iter(_files().values())).parents[1] / "algorithm_config.py"
    else:
        path = _files()[algorithm]
    name = f"{algorithm}Config"
    tree = _parsed(path)
    node = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
    if algorithm == BASE:
        return [node]
    parent = node.bases[0]
    assert isinstance(parent, ast.Name)
    return [*_ancestry(parent.id.removesuffix("Config")), node]


@lru_cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _assigned(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    """What the constructor assigns to attributes of `self`."""
    makers = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    for statement in ast.walk(makers[0]) if makers else ():
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
                if target.value.id == "self":
                    yield target.attr, value


def _annotated(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    """Keywords of the methods that set attributes, with what they are annotated as."""
    for method in node.body:
        if isinstance(method, ast.FunctionDef):
            for argument in method.args.kwonlyargs:
                if argument.annotation is not None:
                    yield argument.arg, argument.annotation


def _kinds(annotation: ast.expr) -> frozenset[str]:
    """The kinds of value an annotation allows; "anything" among them where it names another."""
    if isinstance(annotation, ast.Subscript):
        name = getattr(annotation.value, "id", "")
        if name not in ("Optional", "Union"):
            return frozenset(_KIND_OF_NAME.get(name, {"anything"}))
        inner = annotation.slice
        parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        return frozenset().union(*(_kinds(part) for part in parts))
    return frozenset(_KIND_OF_NAME.get(getattr(annotation, "id", ""), {"anything"}))


def _with_default(name: str, kinds: frozenset[str], default: JsonValue) -> frozenset[str]:
    """An attribute's kinds: those of its annotation and that of its default."""
    if _CODE_NAME.fullmatch(name):
        return frozenset({CODE})
    if not kinds or "anything" in kinds:
        return frozenset()
    if re.search(r"_[cg]pus_", name):
        kinds |= {"float"}  # RLlib's annotations say whole numbers; Ray takes fractions
    return kinds if default is None else kinds | {type(default).__name__}


def _literal(value: ast.expr) -> JsonValue:
    try:
        found: JsonValue = ast.literal_eval(value)
    except ValueError:
        return None
    return found
