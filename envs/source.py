"""Names where environments come from, and brings in the modules that hold them; what goes wrong is
said in the user's words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from traceback import extract_tb
from types import ModuleType
from typing import Any, Literal

import gymnasium

from covey.platform.errors import UserError
from covey.platform.sent_folders import show_code

Preprocess = Literal["auto", "none", "atari"]

# Environments that are not registered until their package is imported: module, pip name.
NAMESPACES = {
    "ALE": ("ale_py", "ale-py"),
    "MiniGrid": ("minigrid", "minigrid"),
    "BabyAI": ("minigrid", "minigrid"),
}

PARTICLES = ("simple_spread", "simple_tag", "simple_adversary", "simple_push")
"""Multi-agent particle environments in our own batched form; see `particles`."""


@dataclass(frozen=True)
class EnvSource:
    """Where environments come from: id, constructor arguments, and the job's code folder, if it has
    one; of particle environments, how many agents.
    """

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    code: str | None = None
    preprocess: Preprocess = "auto"
    agents: int | None = None

    def __str__(self) -> str:
        return f"environment {self.id}"

    @property
    def bare_id(self) -> str:
        """The id without the module in front."""
        return self.id.rpartition(":")[2]

    @property
    def is_particles(self) -> bool:
        """Whether it is one of our own particle environments."""
        return self.id in PARTICLES

    @property
    def is_ale(self) -> bool:
        """Whether it is a game of the Arcade Learning Environment."""
        return self.bare_id.startswith("ALE/")


def import_registering_module(source: EnvSource) -> str:
    """Import the module that registers the environment, if one is named or known; the bare id."""
    module, _, registered = source.id.rpartition(":")
    namespace = registered.partition("/")[0] if "/" in registered else ""
    install = ""
    if not module and namespace in NAMESPACES:
        module, package = NAMESPACES[namespace]
        install = f"; install it with: pip install {package}"
    if module:
        import_named(source, module, install)
    elif source.code is not None:
        show_code(source.code)
    return registered


def import_named(source: EnvSource, module: str, install: str = "") -> ModuleType:
    """A module that an environment's id names, the job's code folder looked through first."""
    if source.code is not None:
        show_code(source.code)
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        where = f"the job's code folder {source.code} or " if source.code else ""
        raise UserError(
            f"{source}: no module {error.name!r} in {where}the installed packages{install}"
        ) from error
    except Exception as error:
        raise UserError(f"{source}: importing {module} failed: {described(error)}") from error


def names_parallel(env_id: str) -> bool:
    """Whether an id has the form of a PettingZoo environment: `package.module`, or
    `package.module:function`.

    Registered ids end in a version, `-v0`, which no name in Python does.
    """
    module, _, function = env_id.rpartition(":")
    if module:
        return function.isidentifier()
    parts = env_id.split(".")
    return len(parts) > 1 and all(part.isidentifier() for part in parts)


def unknown_id(registered: str) -> str | None:
    """Why an id without a module in front cannot be made, with the nearest known one; None if
    Gymnasium knows it or only its module can tell.
    """
    if registered in (*gymnasium.registry, *PARTICLES):
        return None
    if registered.partition("/")[0] in NAMESPACES:
        return None
    if names_parallel(registered):
        return None
    nearest = get_close_matches(registered, (*gymnasium.registry, *PARTICLES), n=1, cutoff=0.5)
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
