"""The lines of `metrics.jsonl`: make, read and trim them."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

OnReport = Callable[[int, Mapping[str, float]], None]
"""Hears of each report: the step, and the metrics that were kept of it."""


def finite(metrics: Mapping[str, float]) -> tuple[dict[str, float], list[str]]:
    """The metrics as plain numbers, and the names of those left out because JSON knows no NaN or
    infinity.
    """
    kept: dict[str, float] = {}
    dropped: list[str] = []
    for name, value in metrics.items():
        number = int(value) if isinstance(value, int) else float(value)  # numpy's are no JSON
        if math.isfinite(number):
            kept[name] = number
        else:
            dropped.append(name)
    return kept, dropped


def encode_line(step: int, wall_s: float, metrics: Mapping[str, float]) -> bytes:
    """One line of the file. Raises ValueError for a metric called like one of the line's own two
    keys.
    """
    if taken := {"step", "wall_s"} & metrics.keys():
        raise ValueError(f"a metric cannot be called {', '.join(sorted(taken))}")
    line = {"step": step, "wall_s": round(wall_s, 3), **metrics}
    return json.dumps(line, allow_nan=False).encode() + b"\n"


def read_metrics(path: Path) -> list[dict[str, float]]:
    """All whole lines of `metrics.jsonl`; none when there is no file. A last line cut short is
    left out.
    """
    return [line for _, line in _lines(path)]


def trim_metrics(path: Path, step: int) -> None:
    """Drop the lines after `step`: what is trained again is reported again.

    Steps only grow within the file, so one truncation does it: it cannot be half done, nor fail
    on a full disk.
    """
    for begin, line in _lines(path):
        if line["step"] > step:
            with path.open("r+b") as file:
                file.truncate(begin)
            return


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line with the offset it begins at; what is no such line is passed over."""
    if not path.exists():
        return
    end = 0
    with path.open("rb") as file:
        for text in file:
            begin, end = end, end + len(text)
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if text.endswith(b"\n") and isinstance(line, dict) and "step" in line:
                yield begin, line
