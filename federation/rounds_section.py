"""The parts of the `federated:` section that say how a round goes: limits, sampling, faults, stop.

Two clocks are told apart by name: `timeout_s` counts seconds of this machine, everything `virtual`
counts simulated seconds, for which nobody waits and which are the same on every machine.
"""

from typing import Annotated, Literal

from pydantic import Field

from covey.platform.errors import KeyProblem
from covey.platform.jobfile.model import Count, Positive, Section

Fraction = Annotated[float, Field(ge=0, le=1)]


class RoundSection(Section):
    """How long a round waits, how many replies it needs, and how often it is tried."""

    timeout_s: Positive | None = None
    """Seconds on the clock after which a round no longer waits for clients; not in deterministic
    jobs.
    """
    virtual_timeout_s: Positive | None = None
    """Simulated seconds after which a client of `faults` counts as dropped."""
    min_replies: Count | None = None
    """Fewer clients that have trained, and the round is not aggregated but tried again. If left
    out: 1, or as many as the strategy needs.
    """
    attempts: Count = 3
    """Times that a round is tried, with other clients where there are others; then the job fails.
    """


class SamplingSection(Section):
    """Which clients train in a round; the strategy says how many."""

    policy: Literal["uniform", "weighted", "round-robin", "available"] = "uniform"
    """weighted: more samples, more often. round-robin: in turn. available: uniform among those that
    are there.
    """
    probability: Annotated[float, Field(gt=0, le=1)] | None = None
    """Only for available, 0.5 if left out: how likely a client is there in a round."""


class StragglersSection(Section):
    """Clients that take longer, in simulated time."""

    fraction: Fraction
    """How likely a client is late in a round."""
    delay_s: Positive
    """The mean delay of a late client, in simulated seconds."""
    distribution: Literal["constant", "exponential", "uniform"] = "constant"
    """Of the delay around its mean; uniform is from 0 to twice the mean."""


class MaliciousSection(Section):
    """Clients that send models which are meant to do harm: the same ones all along, drawn from the
    seed.
    """

    clients: Count
    """How many there are in the population."""
    attack: Literal["sign-flip", "noise"] = "sign-flip"
    """sign-flip: from the received model so many times their update the other way. noise: the
    received model and normal noise of that deviation.
    """
    scale: Positive = 1.0


class FaultsSection(Section):
    """What goes wrong with clients that train: drawn from (seed, round, client)."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """How likely a client never answers in a round."""
    stragglers: StragglersSection | None = None
    malicious: MaliciousSection | None = None


class EarlyStopSection(Section):
    """End the training when a metric has stopped getting better."""

    metric: str = "accuracy"
    """Any figure that a round reports: accuracy, loss, train_loss, ..."""
    patience: Count
    """Rounds without a better value after which training ends, at the next one that has a value."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """A value is better only if it is so by more than this."""
    better: Literal["higher", "lower"] | None = None
    """If left out: lower for a name with loss or error in it, else higher."""


def resolve_sampling(sampling: SamplingSection | None) -> SamplingSection | None:
    """With its defaults; KeyProblem for a key that does not fit the policy."""
    if sampling is None:
        return None
    if sampling.policy != "available" and sampling.probability is not None:
        text = f"is for policy available; leave it out for {sampling.policy}"
        raise KeyProblem(("federated", "sampling", "probability"), text)
    if sampling.policy == "available" and sampling.probability is None:
        return sampling.model_copy(update={"probability": 0.5})
    return sampling


def check_round(
    limits: RoundSection | None,
    faults: FaultsSection | None,
    cohort: int,
    deterministic: bool,
    least: int = 1,
) -> None:
    """KeyProblem for limits that a round can never keep. `cohort`: how many train at most; `least`:
    the replies that the strategy needs.
    """
    if limits is None:
        return
    if limits.timeout_s is not None and deterministic:
        raise _problem(
            "timeout_s",
            "a deterministic job cannot decide by the clock; leave it out, or use "
            "virtual_timeout_s, which limits the simulated delays of faults.stragglers",
        )
    if limits.virtual_timeout_s is not None and faults is None:
        raise _problem("virtual_timeout_s", "limits nothing without federated.faults")
    if limits.min_replies is None:
        return
    if limits.min_replies < least:
        text = f"found {limits.min_replies}, but the strategy needs {least} replies; leave it out"
        raise _problem("min_replies", f"{text}, or write {least} or more")
    if limits.min_replies > cohort:
        text = f"found {limits.min_replies}, but at most {cohort} clients train in a round"
        raise _problem("min_replies", text)


def check_early_stop(early_stop: EarlyStopSection | None, deterministic: bool) -> None:
    """KeyProblem for a metric of the clock in a deterministic job."""
    if early_stop is None or not deterministic or not depends_on_clock(early_stop.metric):
        return
    text = f"found {early_stop.metric}: a deterministic job cannot stop by the clock"
    raise KeyProblem(("federated", "early_stop", "metric"), text)


def depends_on_clock(metric: str) -> bool:
    """Whether a figure of a round is a time on this machine's clock, or made of one."""
    return metric.endswith("_s") and not metric.startswith("virtual_")


def _problem(key: str, message: str) -> KeyProblem:
    return KeyProblem(("federated", "round", key), message)
