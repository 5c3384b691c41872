"""The lines of `events.jsonl` and, once more for people, of `log.txt`."""

import json
import time
from collections.abc import Mapping


def encode_event(
    now: float, attempt: int, kind: str, message: str, fields: Mapping[str, object]
) -> tuple[bytes, bytes]:
    """One event as a JSON line and as a line to read. `now` is in seconds since 1970.

    Anything in `fields` that JSON has no form for is written as text.
    """
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
    record = {"time": stamp, "attempt": attempt, "kind": kind, "message": message}
    # NaN and infinity pass `dumps` as bare words that are no JSON; read back as text they do no
    # harm.
    plain = json.loads(json.dumps(dict(fields), default=str), parse_constant=str)
    line = json.dumps({**plain, **record}, allow_nan=False)
    return line.encode() + b"\n", f"{stamp} [attempt {attempt}] {kind}: {message}\n".encode()
