"""Verbs that tell: schema and doctor."""

import typer

from covey.platform.cli.output import Json, print_json, print_table, say


def schema() -> None:
    """Print the JSON Schema of job files; editors complete and check with it."""
    import json

    from covey.platform.jobfile.load import json_schema

    say(json.dumps(json_schema(), indent=2))


def doctor(as_json: Json = False) -> None:
    """Check this machine: versions, Ray, GPU, disk, data, what is missing and how to get it."""
    from covey.platform.cli.doctor import examine

    findings = examine()
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        rows = [
            (finding.state, finding.name, finding.found, finding.advice) for finding in findings
        ]
        print_table(("", "what", "found", "what to do"), rows)
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)
