"""A report as one JSON object, or as a table for people."""

from collections.abc import Callable, Sequence
from itertools import groupby

from covey.algorithms.bench.report import Figure, Report
from covey.platform.cli.output import figure, print_json, print_table, say

Column = tuple[str, Callable[[Figure], str | None]]
COLUMNS: tuple[Column, ...] = (
    ("", lambda found: found.contender),
    ("median", lambda found: figure(found.spread.median)),
    ("low", lambda found: figure(found.spread.low)),
    ("high", lambda found: figure(found.spread.high)),
    ("", lambda found: found.unit),
)
OPTIONAL: tuple[Column, ...] = (
    ("of peak", lambda found: None if found.of_peak is None else f"{found.of_peak:.2f}"),
    (
        "solved",
        lambda found: None if found.solved is None else f"{found.solved}/{len(found.readings)}",
    ),
    ("Covey is", lambda found: None if found.ratio is None else f"{found.ratio:.2f} x"),
)
"""Left out where nobody has one."""


def print_report(report: Report, as_json: bool) -> None:
    """One line of JSON with `as_json`, else a table for each subject and how to read them."""
    if as_json:
        print_json(report.to_record())
        return
    for subject, figures in groupby(report.figures, lambda found: found.subject):
        say(subject)
        print_figures(list(figures))
    say(report.note)


def print_figures(figures: Sequence[Figure]) -> None:
    """The table of one subject."""
    columns = COLUMNS + tuple(
        column for column in OPTIONAL if any(column[1](found) for found in figures)
    )
    print_table(
        [title for title, _ in columns],
        ([shown(found) for _, shown in columns] for found in figures),
    )
