"""A Flower app in a folder: what its `pyproject.toml` says, and its two components imported."""

import importlib
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from covey.platform.errors import KeyProblem, UserError
from covey.platform.jobfile.nearest import nearest
from covey.platform.jobfile.words import found
from covey.platform.sent_folders import here

if TYPE_CHECKING:
    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp

    from covey.federation.local_training import LocalTraining

ConfigValue = bool | int | float | str


@dataclass(frozen=True)
class AppFolder:
    """An app, read but not imported. `config` is flat: nested keys are joined by dots.

    `cohort` names its local training as a pure function, if it gives one.
    """

    path: Path
    server_app: str
    client_app: str
    config: Mapping[str, ConfigValue]
    cohort: str | None = None

    def configured(self, overrides: Mapping[str, ConfigValue]) -> dict[str, ConfigValue]:
        """The app's run config with overrides; KeyProblem for a key that the app does not have."""
        for key, value in overrides.items():
            where = ("federated", "run_config", key)
            if key not in self.config:
                near = nearest(key, self.config)
                raise KeyProblem(
                    where,
                    "unknown key; the app's [tool.flwr.app.config] has "
                    + (", ".join(self.config) or "none")
                    + (f"; nearest is {near}" if near else ""),
                )
            if not _fits(value, self.config[key]):
                kind = type(self.config[key]).__name__
                raise KeyProblem(
                    where, f"found {found(value)}, the app's own value is of type {kind}"
                )
        return {**self.config, **overrides}


def read_app_folder(path: Path) -> AppFolder:
    """What the folder's pyproject.toml says, wherever it lies here; KeyProblem when that is no
    Flower app.
    """
    path = here(path)
    file = path / "pyproject.toml"
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _problem(f"{path} has no pyproject.toml, so it is no Flower app") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _problem(f"{file} cannot be read: {error}") from None
    app = _table(project, "tool", "flwr", "app")
    components = _table(app, "components")
    for name in ("serverapp", "clientapp"):
        if not _is_reference(components.get(name)):
            raise _problem(
                f'{file} needs {name} = "package.module:app" in [tool.flwr.app.components]'
            )
    config = _flat(_table(app, "config"), "", file)
    cohort = _cohort(_table(project, "tool", "covey"), file)
    return AppFolder(path, components["serverapp"], components["clientapp"], config, cohort)


def code_digest(app: AppFolder) -> str:
    """Of its pyproject.toml and the Python files of its packages, wherever the folder lies."""
    digest = sha256((app.path / "pyproject.toml").read_bytes())
    for package in sorted(
        {name.split(".")[0].split(":")[0] for name in (app.server_app, app.client_app)}
    ):
        for file in sorted([*app.path.glob(f"{package}.py"), *app.path.glob(f"{package}/**/*.py")]):
            name = file.relative_to(app.path).as_posix()
            digest.update(f"{name} {file.stat().st_size}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def imported(app: AppFolder) -> Iterator[tuple["ServerApp", "ClientApp"]]:
    """The app's two components, with its folder first on the import path.

    Afterwards the folder and the modules that came from it are forgotten. UserError when a module
    or its attribute is missing, or when another installed package hides the app's own module.
    """
    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp

    known = set(sys.modules)
    sys.path.insert(0, str(app.path))
    importlib.invalidate_caches()
    try:
        yield (
            _component(app, "serverapp", app.server_app, ServerApp),
            _component(app, "clientapp", app.client_app, ClientApp),
        )
    finally:
        if str(app.path) in sys.path:
            sys.path.remove(str(app.path))
        for name in set(sys.modules) - known:
            if _inside(sys.modules[name], app.path):
                del sys.modules[name]


def local_training(app: AppFolder) -> "LocalTraining":
    """What its `cohort` names, while the app is `imported`. UserError when it is missing, or no
    object with the methods of a LocalTraining.
    """
    assert app.cohort is not None
    training: LocalTraining = _named(app, "cohort", app.cohort)
    if problem := _no_training(training):
        raise UserError(f"{app.path / 'pyproject.toml'}: cohort = {app.cohort!r} {problem}")
    return training


def _no_training(value: object) -> str | None:
    if value is None:
        return "does not exist"
    if isinstance(value, type):
        return f"is a class; name an object: {value.__name__.lower()} = {value.__name__}()"
    for method in ("minibatches", "step"):
        if not callable(getattr(value, method, None)):
            return f"has no method {method}; see covey.federation.local_training"
    return None


def _component(app: AppFolder, name: str, reference: str, kind: type) -> Any:
    value = _named(app, name, reference)
    if not isinstance(value, kind):
        raise UserError(f"{reference} in {app.path} is no {kind.__name__} of Flower")
    return value


def _named(app: AppFolder, name: str, reference: str) -> Any:
    """What a reference leads to, None if the module does not have it."""
    module_name, _, attributes = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"the app in {app.path} names {name} {reference}, but there is no module {error.name}"
        ) from error
    if not _inside(module, app.path):
        raise UserError(
            f"the app in {app.path} names {name} {reference}, but {module_name} was found in "
            f"{getattr(module, '__file__', 'Python itself')}; rename the app's package"
        )
    value: object = module
    for attribute in attributes.split("."):
        value = getattr(value, attribute, None)
    return value


def _inside(module: ModuleType, folder: Path) -> bool:
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return any(place and Path(place).resolve().is_relative_to(folder.resolve()) for place in places)


def _table(parent: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        child = parent.get(name, {})
        parent = child if isinstance(child, Mapping) else {}
    return parent


def _is_reference(value: object) -> bool:
    return isinstance(value, str) and all(value.partition(":")[::2])


def _cohort(table: Mapping[str, Any], file: Path) -> str | None:
    for key in table:
        if key != "cohort":
            raise _problem(f"{file}: unknown key {key} in [tool.covey]; it has cohort")
    reference: str | None = table.get("cohort")
    if reference is not None and not _is_reference(reference):
        raise _problem(f'{file}: cohort in [tool.covey] must be like "package.module:object"')
    return reference


def _flat(table: Mapping[str, Any], prefix: str, file: Path) -> dict[str, ConfigValue]:
    flat: dict[str, ConfigValue] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}.", file))
        elif isinstance(value, bool | int | float | str):
            flat[prefix + key] = value
        else:
            raise _problem(
                f"{file}: {prefix}{key} in [tool.flwr.app.config] is no number, text or bool"
            )
    return flat


def _fits(value: ConfigValue, default: ConfigValue) -> bool:
    """Whether a value can stand in the place of `default`: the same type, or an int for a float."""
    return type(value) is type(default) or (type(value) is int and type(default) is float)


def _problem(message: str) -> KeyProblem:
    return KeyProblem(("federated", "app"), message)
