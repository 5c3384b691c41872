"""The strategies that a job file can name: those of `inner.py`, and one line for each other."""

from typing import Annotated

from pydantic import Field

from covey.federation.strategies.averaging import QFedAvgOptions
from covey.federation.strategies.distilling import FedGenOptions
from covey.federation.strategies.inner import InnerOptions
from covey.federation.strategies.label_logits import FedDistillOptions, FedDistillPlusOptions

StrategySection = Annotated[
    InnerOptions | FedDistillOptions | FedDistillPlusOptions | FedGenOptions | QFedAvgOptions,
    Field(discriminator="name"),
]
