"""Makes one Gymnasium environment, the job's own included."""

from copy import deepcopy
from typing import Any

import gymnasium

from covey.envs.atari import AtariGame, is_preprocessed
from covey.envs.source import EnvSource, described, import_registering_module, unknown_id
from covey.platform.errors import UserError


def make_env(source: EnvSource) -> gymnasium.Env[Any, Any]:
    """A new environment. Raises UserError that names it, the reason, and what to do."""
    if is_preprocessed(source):
        return AtariGame(source)
    registered = import_registering_module(source)
    try:
        spec = deepcopy(gymnasium.spec(registered))
        # Whoever steps it resets it first, and being asked at every step costs.
        spec.order_enforce = False
        return gymnasium.make(spec, disable_env_checker=True, **source.kwargs)
    except gymnasium.error.DependencyNotInstalled as error:
        raise UserError(f"{source}: a package it needs is missing: {error}") from error
    except gymnasium.error.UnregisteredEnv as error:
        raise UserError(f"{source}: {unknown_id(registered) or error}") from error
    except Exception as error:
        raise UserError(f"{source}: making it failed: {described(error)}") from error
