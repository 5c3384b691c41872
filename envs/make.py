"""Makes Gymnasium environments, the job's own included; what goes wrong is said in the user's
words.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from traceback import extract_tb
from typing import Any

import gymnasium

from covey.platform.errors import UserError

# Environments that are not registered until their package is imported: module, pip name.
NAMESPACES = {
    "ALE": ("ale_py", "ale-py"),
    "MiniGrid": ("minigrid", "minigrid"),
    "BabyAI": ("minigrid", "minigrid"),
}


@dataclass(frozen=True)
class EnvSource:
    """Where environments come from: id, constructor arguments, and the job's code folder, if it has
    one.
    """

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    code: str | None = None

    def __str__(self) -> str:
        return f"environment {self.id}"


def make_env(source: EnvSource) -> gymnasium.Env[Any, Any]:
    """A new environment. Raises UserError that names it, the reason, and what to do."""
    registered = import_registering_module(source)
    try:
        return gymnasium.make(registered, disable_env_checker=True, **source.kwargs)
    except gymnasium.error.DependencyNotInstalled as error:
        raise UserError(f"{source}: a package it needs is missing: {error}") from error
    except gymnasium.error.UnregisteredEnv as error:
        raise UserError(f"{source}: {unknown_id(registered) or error}") from error
    except Exception as error:
        raise UserError(f"{source}: making it failed: {described(error)}") from error


def import_registering_module(source: EnvSource) -> str:
    """Import the module that registers the environment, if one is named or known; the bare id."""
    if source.code is not None and source.code not in sys.path:
        sys.path.insert(0, source.code)
    module, _, registered = source.id.rpartition(":")
    namespace = registered.partition("/")[0] if "/" in registered else ""
    install = ""
    if not module and namespace in NAMESPACES:
        module, package = NAMESPACES[namespace]
        install = f"; install it with: pip install {package}"
    if module:
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            where = f"the job's code folder {source.code} or " if source.code else ""
            raise UserError(
                f"{source}: no module {error.name!r} in {where}the installed packages{install}"
            ) from error
        except Exception as error:
            raise UserError(f"{source}: importing {module} failed: {described(error)}") from error
    return registered


def unknown_id(registered: str) -> str | None:
    """Why a bare id cannot be made, with the nearest known one; None if Gymnasium knows it."""
    if registered in gymnasium.registry or registered.partition("/")[0] in NAMESPACES:
        return None
    nearest = get_close_matches(registered, gymnasium.registry, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return (
        f"{registered!r} is not a registered Gymnasium environment{hint} "
        "(one of your own is named package.module:Id-v0)"
    )


def described(error: BaseException) -> str:
    """Kind, message and innermost place of an error in somebody else's code."""
    frames = extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
