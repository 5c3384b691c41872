"""How a measured process talks with `covey bench`: a line of JSON for every line it is sent.

Runs in the peers' own environment too: nothing but the standard library is imported.
"""

import json
import os
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

Settings = dict[str, Any]
Measure = Callable[[float], tuple[float, float]]
"""Works for about so many seconds; returns what it counted and the seconds that took."""


def serve(prepare: Callable[[Settings], dict[str, Measure]]) -> None:
    """Prepare with the settings on the command line, say so, then measure what each line asks for.

    What libraries print goes to standard error: standard output carries the answers alone.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    measures = prepare(json.loads(sys.argv[1]))
    print(json.dumps({"ready": sorted(measures)}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        counted, seconds = measures[request["what"]](request["seconds"])
        print(json.dumps({"count": counted, "seconds": seconds}), file=answers, flush=True)


def repeated(work: Callable[[], float]) -> Measure:
    """Call `work`, which returns what it counts, until the seconds are over; at least once."""

    def measure(seconds: float) -> tuple[float, float]:
        counted, began = 0.0, perf_counter()
        while True:
            counted += work()
            passed = perf_counter() - began
            if passed >= seconds:
                return counted, passed

    return measure
