"""A report as one JSON object, or as a table for people."""

from collections.abc import Callable

from covey.algorithms.bench.report import Figure, Report
from covey.platform.cli.output import figure, print_json, print_table, say

Column = tuple[str, Callable[[Figure], str | None]]
COLUMNS: tuple[Column, ...] = (
    ("", lambda found: found.subject),
    ("", lambda found: found.contender),
    ("median", lambda found: figure(found.spread.median)),
    ("low", lambda found: figure(found.spread.low)),
    ("high", lambda found: figure(found.spread.high)),
    ("unit", lambda found: found.unit),
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
    """One line of JSON with `as_json`, else a table and how to read it."""
    if as_json:
        print_json(report.to_record())
        return
    columns = COLUMNS + tuple(
        column for column in OPTIONAL if any(column[1](found) for found in report.figures)
    )
    print_table(
        [title for title, _ in columns],
        ([shown(found) for _, shown in columns] for found in report.figures),
    )
    say(report.note)
