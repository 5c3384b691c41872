"""A report for people: a table for each work."""

from covey.federation.bench.report import Line, Report, WorkFound
from covey.platform.cli.output import figure, print_json, print_table, say

COLUMNS = ("", "rounds/s", "low", "high", "warm", "process s", "peak MB", "accuracy")


def print_report(report: Report, as_json: bool) -> None:
    """One line of JSON with `as_json`, else tables, how to read them, and who disagrees."""
    if as_json:
        print_json(report.to_record())
        return
    for found in report.works:
        print_work(found)
    if report.message_ms is not None:
        cost = report.message_ms
        say(
            f"10,000 messages to clients that do nothing: {figure(cost.median)} ms a message "
            f"(lowest {figure(cost.low)}, highest {figure(cost.high)})"
        )
    if report.works:
        say(report.note)
    for sentence in report.disagreeing:
        say(sentence)


def print_work(found: WorkFound) -> None:
    """The table of one work."""
    say(f"{found.work}: {found.title}, {found.rounds} rounds")
    engines = list(found.lines[0].ratios)
    print_table([*COLUMNS, *(f"{engine} is" for engine in engines)], map(cells, found.lines))


def cells(line: Line) -> list[str | None]:
    """A contender's row."""
    return [
        line.name,
        figure(line.rounds_per_s.median),
        figure(line.rounds_per_s.low),
        figure(line.rounds_per_s.high),
        figure(line.warm_rounds_per_s.median),
        figure(line.process_s.median),
        f"{line.peak_mb.median:,.0f}",
        f"{line.accuracy:.3f}" + ("" if line.agrees else " (!)"),
        *(
            None if line.key == engine else f"{ratio:.2f} x"
            for engine, ratio in line.ratios.items()
        ),
    ]
