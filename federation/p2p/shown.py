"""What people see of a peer-to-peer run: the panels of its curves, and where it stands in words."""

from collections.abc import Mapping

from covey.platform.jobfile.model import JobFile
from covey.platform.runs.panels import Lines, Panel, course

UNIT = "rounds"
MEANS = {"accuracy": "after consensus", "accuracy_local": "before"}
AFTER = {"accuracy": "mean", "accuracy_min": "worst peer", "accuracy_max": "best peer"}
BEFORE = {f"{name.replace('accuracy', 'accuracy_local')}": label for name, label in AFTER.items()}
APART = {"disagreement": "after consensus", "disagreement_local": "before"}


def panels(job: JobFile, lines: Lines) -> list[Panel]:
    """The panels of `curves.png`, best first."""
    lines = [
        line | {"mb": line["bytes_per_peer"] / 1e6} if "bytes_per_peer" in line else line
        for line in lines
    ]
    goal = job.stop.accuracy
    chosen = (
        _curves("accuracy, mean over peers", lines, MEANS, goal),
        _curves("accuracy after consensus", lines, AFTER, goal),
        _curves("accuracy before consensus", lines, BEFORE),
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
    goal: float | None = None,
    from_zero: bool = False,
) -> Panel:
    """One curve for each of the metrics that the lines have."""
    found = [course(lines, name, label=label) for name, label in names.items()]
    return Panel(title, tuple(one for one in found if one.x), UNIT, goal, from_zero)
