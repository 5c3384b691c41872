"""What one run of one contender came to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from covey.federation.bench.metered import Metered


@dataclass(frozen=True)
class Reading:
    """`rounds_per_s` over all rounds, `warm_rounds_per_s` without the first; `process_s` and
    `peak_mb` of the whole run; `accuracy` of the last model on the test set, in [0, 1].
    """

    rounds_per_s: float
    warm_rounds_per_s: float
    process_s: float
    peak_mb: float
    accuracy: float


def reading(measured: Metered) -> Reading:
    """Of a run that tells of at least two rounds, as `peers/round_clock.py` does."""
    record = measured.record
    rounds, total_s = record["rounds"], record["total_s"]
    return Reading(
        rounds / total_s,
        (rounds - 1) / (total_s - record["first_s"]),
        measured.process_s,
        measured.peak_mb,
        record["accuracy"],
    )


def our_record(result: Mapping[str, Any], reports: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What a peer would say, of a run folder's result and metrics. Every round is reported with the
    training's seconds up to there; the last one's include the test of the model, so that round is
    left out.
    """
    wall_s = {report["step"]: report["wall_s"] for report in reports}
    last = max(wall_s) - 1
    return {
        "rounds": last,
        "first_s": wall_s[1] - wall_s[0],
        "total_s": wall_s[last] - wall_s[0],
        "accuracy": result["metrics"]["accuracy"],
    }
