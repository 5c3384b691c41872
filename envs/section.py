"""The part of a job file that names an environment."""

from pydantic import Field, JsonValue

from covey.platform.jobfile.model import Section


class EnvSection(Section):
    """`id` is a registered Gymnasium id, or `package.module:Id-v0` to import that module first.

    `kwargs` are handed to the environment's constructor.
    """

    id: str
    kwargs: dict[str, JsonValue] = Field(default={})
