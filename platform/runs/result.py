"""`result.json`: how an attempt ended."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

FinalState = Literal["succeeded", "failed", "stopped"]


def read_result(run_dir: Path) -> dict[str, Any]:
    """The `result.json` of a run folder; empty while it has none that can be read."""
    try:
        result: Any = json.loads((run_dir / "result.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    told = isinstance(result, dict) and result.get("state") in get_args(FinalState)
    return result if told else {}


@dataclass(frozen=True)
class Result:
    """What is kept of an attempt's end.

    `reason` is the stop condition that was reached, `error` one line for people; either may be
    None. `wall_s` counts training over all attempts.
    """

    state: FinalState
    reason: str | None
    error: str | None
    run_dir: str
    step: int
    metrics: dict[str, float]
    wall_s: float
    attempt: int

    def encode(self) -> bytes:
        """The file's content, with `process_s`: the age of this process, imports and all."""
        import psutil

        process_s = time.time() - psutil.Process().create_time()
        content = {
            **asdict(self),
            "wall_s": round(self.wall_s, 3),
            "process_s": round(process_s, 3),
        }
        return json.dumps(content, indent=1, allow_nan=False).encode() + b"\n"
