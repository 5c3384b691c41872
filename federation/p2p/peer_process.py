"""One peer of a job as a process of this machine, and what is read of its run folder."""

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from covey.federation.leash import Leashed
from covey.platform.runs.checkpoint import Checkpoint
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.run import live_writer
from covey.platform.runs.shelf import newest_whole


class PeerProcess:
    """Started at once; it ends when this process does, however that ends."""

    def __init__(self, config: Path, run_dir: Path) -> None:
        self.folder = RunFolder(run_dir)
        self.figures: dict[int, dict[str, float]] = {}
        """By round, as far as they were read."""
        self._read_bytes, self._last = 0, b""
        self.folder.result.unlink(missing_ok=True)  # of an earlier attempt
        command = [sys.executable, "-m", "covey.platform.cli", "peer", f"--config={config}"]
        self._process = Leashed(command, config.parent / "said.txt", os.environ)

    @property
    def ended(self) -> bool:
        """Whether it runs no longer."""
        return self._process.ended

    @property
    def round(self) -> int:
        """The newest that it has told of; -1 before the first."""
        return max(self.figures, default=-1)

    def read(self) -> None:
        """Take in what has come to its metrics."""
        file = self.folder.metrics
        if not file.exists():
            return
        with file.open("rb") as lines:
            lines.seek(self._read_bytes - len(self._last))
            new = lines.read()
            if not new.startswith(self._last):  # it was cut back to a checkpoint, and goes on
                self._read_bytes, self._last, self.figures = 0, b"", {}
                lines.seek(0)
                new = lines.read()
        whole = new[len(self._last) : new.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        self._last = whole[whole[:-1].rfind(b"\n") + 1 :] or self._last
        for line in whole.splitlines():
            figures = json.loads(line)
            self.figures[figures.pop("step")] = figures

    def why_failed(self) -> str | None:
        """Of a process that has ended: None if that was in order."""
        with suppress(OSError, ValueError):
            result: dict[str, Any] = json.loads(self.folder.result.read_bytes())
            return result["error"] if result["state"] == "failed" else None
        return f"it was killed, or could not begin; see {self._process.log}"

    @property
    def killed(self) -> bool:
        """Of a process that has ended: it could not even tell why."""
        return not self.folder.result.exists()

    def newest_checkpoint(self) -> Checkpoint | None:
        """Its own."""
        return newest_whole(self.folder.checkpoints) if self.folder.checkpoints.is_dir() else None

    def request_stop(self) -> None:
        """Ask it to end after its round, with a checkpoint. One that has not begun is killed."""
        writer = live_writer(self.folder.path) if self.folder.path.is_dir() else None
        if writer is None:
            self.kill()
        else:
            with suppress(ProcessLookupError):
                os.kill(writer, signal.SIGTERM)

    def kill(self) -> None:
        """End it now."""
        self._process.end()
