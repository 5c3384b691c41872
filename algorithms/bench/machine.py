"""What the figures were measured on."""

import os
import platform
import sys
from importlib.metadata import version
from typing import Any

PACKAGES = ("covey", "gymnasium", "numpy", "ray", "torch")


def machine() -> dict[str, Any]:
    """Plain JSON values: processors, system, and the versions that matter."""
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "processor": platform.machine(),
        "load_1min": round(os.getloadavg()[0], 2),
        "python": sys.version.split()[0],
        **{package: version(package) for package in PACKAGES},
    }
