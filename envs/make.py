"""The door to environments: where they come from, and the form of stepping them that fits."""

from covey.envs.single import make_env
from covey.envs.source import EnvSource, described, unknown_id

__all__ = ["EnvSource", "described", "make_env", "unknown_id"]
