"""A report for people: a table for each work."""

from covey.federation.bench.report import Line, Report, WorkFound
from covey.platform.cli.output import figure, print_json, print_table, say

COLUMNS = ("", "rounds/s", "warm", "low", "high", "process s", "peak MB", "accuracy")


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
    """The tables of one work: what everybody did, and how many times that Covey's engines do."""
    say(f"{found.work}: {found.title}, {found.rounds} rounds")
    print_table(COLUMNS, map(cells, found.lines))
    engines = list(found.lines[0].ratios)
    ratios = [[line.name, *(ratio(line, engine) for engine in engines)] for line in found.lines]
    print_table(["against", *(f"{engine} is" for engine in engines)], ratios)


def cells(line: Line) -> list[str | None]:
    """A contender's row."""
    warm = line.warm_rounds_per_s
    return [
        line.name,
        figure(line.rounds_per_s.median),
        figure(warm.median),
        figure(warm.low),
        figure(warm.high),
        figure(line.process_s.median),
        f"{line.peak_mb.median:,.0f}",
        f"{line.accuracy:.3f}" + ("" if line.agrees else " (!)"),
    ]


def ratio(line: Line, engine: str) -> str | None:
    """How many times a contender's rounds one of Covey's engines does."""
    return None if line.key == engine else f"{line.ratios[engine]:.2f} x"
