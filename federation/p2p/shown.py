"""What people see of a peer-to-peer run: the panels of its curves, and where it stands in words."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate

from covey.platform.jobfile.model import JobFile
from covey.platform.runs.panels import Lines, Panel, Series, course

UNIT = "rounds"
MB = "megabytes sent by a peer"
ACCURACIES = {"accuracy": "after consensus", "accuracy_local": "before"}
WORST = {"accuracy_min": "after consensus", "accuracy_local_min": "before"}
APART = {"disagreement": "after consensus", "disagreement_local": "before"}


def panels(job: JobFile, lines: Lines) -> list[Panel]:
    """The panels of `curves.png`, best first."""
    lines = _with_traffic(lines)
    goal = job.stop.accuracy
    chosen = (
        _curves("accuracy, mean and range of the peers", lines, ACCURACIES, goal=goal),
        _curves("accuracy by traffic", lines, ACCURACIES, MB, goal),
        _curves("accuracy of the worst peer", lines, WORST),
        _curves("disagreement (distance to the mean / its length)", lines, APART, from_zero=True),
        _curves("loss in training", lines, {"train_loss": ""}),
        _curves("sent by a peer in a round (MB)", lines, {"mb": ""}, from_zero=True),
    )
    return [panel for panel in chosen if panel.series]


def headline(metrics: Mapping[str, float]) -> list[str]:
    """Where a run stands, of a round's figures."""
    said = []
    if "accuracy_min" in metrics:
        said.append(f"worst peer {metrics['accuracy_min']:.4g}")
    if "disagreement" in metrics:
        said.append(f"disagreement {metrics['disagreement']:.3g}")
    if "bytes_per_peer" in metrics:
        said.append(f"{metrics['bytes_per_peer'] / 1e6:.3g} MB a peer")
    return said


def _curves(
    title: str,
    lines: Lines,
    names: Mapping[str, str],
    along: str = "step",
    goal: float | None = None,
    from_zero: bool = False,
) -> Panel:
    """One curve for each of the metrics that the lines have, with its band if it has one."""
    found = [_curve(lines, name, along, label) for name, label in names.items()]
    unit = UNIT if along == "step" else along
    return Panel(title, tuple(one for one in found if one.x), unit, goal, from_zero)


def _curve(lines: Lines, name: str, along: str, label: str) -> Series:
    series = course(lines, name, along, label)
    low, high = (course(lines, f"{name}_{end}", along).y for end in ("min", "max"))
    ranged = len(low) == len(high) == len(series.y)
    return replace(series, band=(low, high)) if ranged else series


def _with_traffic(lines: Lines) -> Lines:
    """The lines with the megabytes that a peer has sent in their round, and up to there."""
    sent = [line.get("bytes_per_peer", 0.0) / 1e6 for line in lines]
    return [
        line | {MB: so_far} | ({"mb": one} if line["step"] else {})
        for line, one, so_far in zip(lines, sent, accumulate(sent), strict=True)
    ]
