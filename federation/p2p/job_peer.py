"""One peer of a job as the job sees it: an actor, and what is read of the peer's run folder."""

import json
from pathlib import Path

from covey.federation.p2p.peer_actor import PeerActor
from covey.platform.driver import AttemptEnd
from covey.platform.errors import UserError
from covey.platform.exit_status import ExitStatus
from covey.platform.runs.checkpoint import Checkpoint
from covey.platform.runs.folder import RunFolder
from covey.platform.runtime.crew import Crew, Pending, WorkerLost


class JobPeer:
    """Its actor is started at once, and trains from `begin` on. It ends with the crew."""

    def __init__(self, crew: Crew, number: int, run_dir: Path) -> None:
        self.folder = RunFolder(run_dir)
        self.figures: dict[int, dict[str, float]] = {}
        """By round, as far as they were read."""
        self._read_bytes, self._last = 0, b""
        self._crew = crew
        self._actor = crew.spawn(f"peer {number}", PeerActor)
        self.address = self._actor.submit("address")
        """(host, port)"""
        self._running: Pending | None = None

    def begin(self, config: Path, ray_address: str) -> None:
        """Let it run with its `peer.yaml`."""
        self._running = self._actor.submit("run", config, ray_address)

    @property
    def end(self) -> AttemptEnd | None:
        """How it has ended; None of one that still runs."""
        if self._running is None or not self._crew.is_ready(self._running):
            return None
        try:
            (end,) = self._crew.fetch([self._running])
        except WorkerLost:
            return AttemptEnd("failed", ExitStatus.FAILED, "it was killed, or has crashed")
        except UserError as error:  # it could not even begin
            return AttemptEnd("failed", error.exit_status, str(error))
        except OSError as error:
            return AttemptEnd("failed", ExitStatus.FAILED, str(error))
        assert isinstance(end, AttemptEnd)
        return end

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

    def newest_checkpoint(self) -> Checkpoint | None:
        """Its own."""
        return self.folder.whole_checkpoint()

    def request_stop(self) -> None:
        """Ask it to end after its round, with a checkpoint."""
        self._actor.submit("stop")
