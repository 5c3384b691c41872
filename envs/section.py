"""The part of a job file that names an environment."""

from pydantic import Field, JsonValue

from covey.envs.source import Preprocess
from covey.platform.jobfile.model import Count, Section


class EnvSection(Section):
    """`id` is a registered Gymnasium id, or `package.module:Id-v0` to import that module first; or
    a PettingZoo environment: `package.module` with a `parallel_env`, or `package.module:function`.

    `kwargs` are handed to the environment's constructor. `preprocess: atari` shows an `ALE/...`
    game as four grey 84 x 84 pictures and clips its rewards to [-1, 1], except in evaluations;
    `auto` does so for every such game. The particle environments `simple_spread`, `simple_tag`,
    `simple_adversary` and `simple_push` are our own batched form, for so many `agents`.
    """

    id: str
    kwargs: dict[str, JsonValue] = Field(default={})
    preprocess: Preprocess = "auto"
    agents: Count | None = None
