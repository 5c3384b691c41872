"""One attempt at a job, as its workload sees it: restore, report, checkpoint, stop."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from covey.platform.jobfile.model import JobFile

Arrays = Mapping[str, NDArray[np.generic]]
Part = Arrays | bytes
"""A file of a checkpoint: named arrays for `*.safetensors`, ready bytes for anything else."""


class Run(Protocol):
    """INTERFACE SKETCH: becomes a class. Workloads use nothing else of the platform's run handling."""

    job: JobFile
    path: Path
    attempt: int
    ray_address: str

    def restore(self) -> "Checkpoint | None": ...
    def started(self) -> None: ...
    def report(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def event(self, kind: str, message: str, **fields: object) -> None: ...
    def checkpoint_due(self, step: int) -> bool: ...
    def checkpoint(self, step: int, parts: Mapping[str, Part]) -> None: ...
    def stop_reason(self, step: int, metrics: Mapping[str, float]) -> str | None: ...


class Checkpoint(Protocol):
    """INTERFACE SKETCH: a whole, verified checkpoint."""

    step: int
    path: Path

    def arrays(self, part: str) -> dict[str, NDArray[np.generic]]: ...
    def read(self, part: str) -> bytes: ...
