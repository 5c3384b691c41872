"""The study's tables, in Markdown: methods by settings, then each setting with all its seeds."""

from collections.abc import Iterable, Sequence

from covey.federation.study.cells import Cell
from covey.federation.study.plan import CLIENTS, COHORT, Plan
from covey.federation.study.record import LAST, METRICS
from covey.federation.study.statistics import Difference, Spread


def markdown(plan: Plan, cells: Sequence[Cell]) -> str:
    """All tables, accuracies in percent."""
    parts = ["# Federated distillation\n", _heading(plan, cells)]
    for metric, words in METRICS.items():
        parts.append(f"\n## {words.capitalize()}\n\n{_overview(metric, cells)}")
    for setting in dict.fromkeys(cell.setting for cell in cells):
        own = [cell for cell in cells if cell.setting == setting]
        parts.append(f"\n## {setting}")
        for metric, words in METRICS.items():
            parts.append(f"\n{words.capitalize()}:\n\n{_detail(metric, own)}")
    return "\n".join(parts) + "\n"


def percent(found: Spread) -> str:
    """`93.15 ± 1.06`."""
    known = "" if found.deviation is None else f" ± {100 * found.deviation:.2f}"
    return f"{100 * found.mean:.2f}{known}"


def points(found: Difference | None) -> str:
    """`+1.20 [-0.10, +2.50]`, in percentage points; nothing where there is no difference."""
    if found is None:
        return ""
    if found.low is None or found.high is None:
        return f"{100 * found.mean:+.2f}"
    return f"{100 * found.mean:+.2f} [{100 * found.low:+.2f}, {100 * found.high:+.2f}]"


def _heading(plan: Plan, cells: Sequence[Cell]) -> str:
    seeds = max((len(cell.runs) for cell in cells), default=0)
    rates = ", ".join(f"{rate:g}" for rate in plan.rates)
    chosen = f"the best of {rates} in half as many rounds on one more seed"
    return (
        f"`{plan.app}`, {plan.rounds} rounds, {COHORT} of {CLIENTS} clients a round, {seeds} "
        f"seeds; {100 * plan.public:g} % of the training samples are no client's, "
        f"who go over theirs {plan.order}. A run's score is "
        f"the mean of its last {LAST} evaluations; mean ± standard deviation over seeds, in %. "
        "Differences are paired by seed, with a 95 % t-interval. The learning rate is "
        f"{chosen if plan.tried else rates}."
    )


def _overview(metric: str, cells: Sequence[Cell]) -> str:
    settings = list(dict.fromkeys(cell.setting for cell in cells))
    found = {(cell.row.label, cell.setting): percent(cell.spread(metric)) for cell in cells}
    labels = dict.fromkeys(cell.row.label for cell in cells)
    return _table(
        ("method", *map(str, settings)),
        ((label, *(found.get((label, one), "") for one in settings)) for label in labels),
    )


def _detail(metric: str, cells: Sequence[Cell]) -> str:
    return _table(
        ("method", "learning rate", "MB", "mean ± sd", "each seed", "difference", "from"),
        (
            (
                cell.row.label,
                f"{cell.rate:g}",
                f"{cell.megabytes:.1f}",
                percent(cell.spread(metric)),
                " ".join(f"{100 * score:.2f}" for score in cell.scores(metric)),
                points(difference := cell.difference(metric, cells)),
                cell.row.against if difference else "",
            )
            for cell in cells
        ),
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
