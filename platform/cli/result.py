"""How a run ended, as `result.json` has it."""

from pathlib import Path
from typing import Any

from covey.platform.cli.output import figure, note, print_table, say


def print_result(result: dict[str, Any]) -> None:
    """For people: the state and why, the final metrics, where the files are."""
    seconds = f", {figure(result['wall_s'])} s of training" if "wall_s" in result else ""
    why = result.get("error") or result.get("reason") or "see log.txt"
    tell = say if result["state"] == "succeeded" else note
    tell(f"{result['state']}: {why}{seconds}")
    metrics = result.get("metrics")
    if metrics:
        print_table(("metric", "value"), [(name, figure(value)) for name, value in metrics.items()])
    if "run_dir" in result:
        say_where(Path(result["run_dir"]))


def say_where(path: Path) -> None:
    """The run folder and, where there is one, its plot."""
    say(f"run folder: {path}")
    if (path / "curves.png").exists():
        say(f"plot:       {path / 'curves.png'}")
