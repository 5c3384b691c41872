"""The `rllib:` section of a job file."""

from typing import Any

from pydantic import Field, JsonValue, model_validator

from covey.envs.section import EnvSection
from covey.platform.jobfile.model import Section


class RllibSection(Section):
    """One of RLlib's algorithms, by the name of its class, with RLlib's own settings."""

    algorithm: str = Field(description="an algorithm of RLlib's new API stack, such as PPO or SAC")
    env: EnvSection
    config: dict[str, JsonValue] = Field(
        default={}, description="attributes of the algorithm's configuration, by RLlib's names"
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_config(cls, data: Any) -> Any:
        """`config:` with nothing under it is an empty one."""
        if isinstance(data, dict) and data.get("config", {}) is None:
            return {**data, "config": {}}
        return data
