"""What people see of a federated run: the panels of its curves, and a few words on where it stands.
The map of its clients is drawn in `client_map`.
"""

from collections.abc import Mapping
from itertools import accumulate

from covey.federation.figures import ACCURACY_NAMES
from covey.federation.phases import Phases
from covey.platform.jobfile.model import JobFile
from covey.platform.runs.panels import Lines, Panel, Series, course
from covey.platform.runs.plots import MAX_PANELS, choose_panels, metric_panel

UNIT = "rounds"
MB = "megabytes"
ACCURACIES = {
    "accuracy": "test set",
    "accuracy_average": "averaged model",
    "client_accuracy": "clients' own data",
    "client_accuracy_worst_decile": "worst tenth",
}
LOSSES = {"loss": "test set", "train_loss": "in training", "client_loss": "clients' own data"}
STALENESS = {"train_staleness_mean": "mean", "train_staleness_max": "stalest"}
GENERATOR = {"generator_accuracy": "taken for their label", "generator_spread": "spread"}
FATES = {
    "clients": "trained",
    "clients_dropped": "dropped",
    "clients_failed": "failed",
    "clients_refused": "refused",
}
PHASES = {f"{name}_s": name for name in Phases.NAMES}
TRAFFIC = {"bytes_up": "up", "bytes_down": "down"}
PLACED = {
    *ACCURACIES, *LOSSES, *GENERATOR, *STALENESS, *FATES, *PHASES, *TRAFFIC,
    "clients_asked", "client_count", "epsilon", "round_s", "rounds_per_s",
}  # fmt: skip
"""Metrics that have their panel, or need none; an app's own ones follow where there is room."""


def panels(job: JobFile, lines: Lines) -> list[Panel]:
    """The panels of `curves.png`, best first."""
    lines = _with_traffic(_renamed(lines))
    goal = job.stop.accuracy
    chosen = (
        _curves("accuracy", lines, _accuracies(lines), goal=goal),
        _curves("accuracy by traffic, up and down", lines, _accuracies(lines), MB, goal),
        _curves("loss", lines, LOSSES),
        _curves("latents of the generator", lines, GENERATOR, from_zero=True),
        _areas("clients a round", lines, FATES),
        _areas("time a round (s)", lines, PHASES),
        _curves("epsilon spent", lines, {"epsilon": ""}, from_zero=True),
        _curves("staleness of replies (rounds)", lines, _stale(lines), from_zero=True),
        _areas("traffic a round (MB)", lines, {"up_mb": "up", "down_mb": "down"}),
    )
    found = [panel for panel in chosen if panel.series]
    others = choose_panels(lines, {*PLACED, MB, "up_mb", "down_mb"})
    return (found + [metric_panel(name, lines, UNIT) for name in others])[:MAX_PANELS]


def headline(metrics: Mapping[str, float]) -> list[str]:
    """Where a run stands, of a round's figures: `3 of 5 clients, 2 dropped`, `1.2 MB a round`."""
    said = []
    if "client_accuracy_worst_decile" in metrics:
        said.append(f"worst tenth of clients {metrics['client_accuracy_worst_decile']:.4g}")
    if "clients" in metrics:
        lost = [(word, metrics.get(name, 0)) for name, word in list(FATES.items())[1:]]
        told = "".join(f", {count:,.0f} {word}" for word, count in lost if count)
        asked = metrics.get("clients_asked", metrics["clients"])
        said.append(f"{metrics['clients']:,.0f} of {asked:,.0f} clients{told}")
    if "bytes_up" in metrics:
        mb = (metrics["bytes_up"] + metrics.get("bytes_down", 0)) / 1e6
        said.append(f"{mb:.3g} MB a round")
    if "epsilon" in metrics:
        said.append(f"epsilon {metrics['epsilon']:.4g}")
    return said


def _renamed(lines: Lines) -> Lines:
    """The clients' accuracy under one name, whatever the app calls it."""
    names = {f"client_{name}" for name in ACCURACY_NAMES}
    return [
        {"client_accuracy" if name in names else name: value for name, value in line.items()}
        for line in lines
    ]


def _accuracies(lines: Lines) -> dict[str, str]:
    """Those that differ: `accuracy` is the clients' own where the server measures none."""
    both = [line for line in lines if {"accuracy", "client_accuracy"} <= line.keys()]
    if both and all(line["accuracy"] == line["client_accuracy"] for line in both):
        return {name: label for name, label in ACCURACIES.items() if name != "accuracy"}
    return ACCURACIES


def _stale(lines: Lines) -> dict[str, str]:
    """The figures of staleness, if any reply was stale."""
    return STALENESS if any(line.get("train_staleness_max") for line in lines) else {}


def _curves(
    title: str,
    lines: Lines,
    names: Mapping[str, str],
    along: str = "step",
    goal: float | None = None,
    from_zero: bool = False,
) -> Panel:
    """One curve for each of the metrics that the lines have."""
    found = [course(lines, name, along, label) for name, label in names.items()]
    series = tuple(one for one in found if one.x)
    return Panel(title, series, UNIT if along == "step" else along, goal, from_zero)


def _areas(title: str, lines: Lines, names: Mapping[str, str]) -> Panel:
    """The metrics on top of each other, without those that are always zero."""
    found = [line for line in lines if not names.keys().isdisjoint(line)]
    rounds = [line["step"] for line in found]
    columns = {label: [line.get(name, 0.0) for line in found] for name, label in names.items()}
    series = tuple(Series(rounds, column, name) for name, column in columns.items() if any(column))
    return Panel(title, series, UNIT, stacked=True)


def _with_traffic(lines: Lines) -> Lines:
    """The lines with the megabytes of their round and, of both directions, up to there."""
    up = [line.get("bytes_up", 0) / 1e6 for line in lines]
    down = [line.get("bytes_down", 0) / 1e6 for line in lines]
    sums = accumulate(map(sum, zip(up, down, strict=True)))
    return [
        line | {MB: so_far} | ({"up_mb": one, "down_mb": other} if "bytes_up" in line else {})
        for line, one, other, so_far in zip(lines, up, down, sums, strict=True)
    ]
