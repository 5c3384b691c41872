"""A local Ray head that outlives its scheduler: its own process group, found again by its files.

`COVEY_HOME/ray/head.json` is written before the head starts and says where it will listen; the
head's own shell first writes `head.pid`, so no kill of the scheduler leaves a head unknown.
"""

import fcntl
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import psutil

from covey.platform.errors import UserError
from covey.platform.jobs.process import end_group, with_argument
from covey.platform.ray_start import free_ports

_PID_LIMIT_S = 10.0
_MAX_TEMP_DIR = 40  # characters; Ray's socket paths below it must stay under 108


@dataclass(frozen=True)
class HeadRecord:
    """A head as it was started. `launched_s`: seconds since the epoch."""

    head_id: str
    url: str
    launched_s: float


class RayHead:
    """The head of one COVEY_HOME. Only the scheduler that holds the lease starts or stops it."""

    def __init__(self, home: Path, say: Callable[[str], None] = print) -> None:
        self._folder = home / "ray"
        self._say = say
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What `ray start` said."""
        return self._folder / "head.log"

    @property
    def kept_logs(self) -> Path:
        """Ray's own logs of the last head that ended by itself."""
        return self._folder / "ended"

    def record(self) -> HeadRecord | None:
        """The living head; None when there is none."""
        record = self._read()
        return record if record is not None and self._is_alive(record) else None

    def start(self) -> HeadRecord:
        """The head, started where none lives; it answers about 10 s later."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "head.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            record = self.record()
            if record is None:
                record = self._launch()
        return record

    def last_words(self) -> str:
        """What the newest head said last."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
                said = log.read().decode(errors="replace").split("\n")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(said) if line.strip()), "")

    def stop(self) -> None:
        """End the head and what a killed one left behind; nothing happens where there is none."""
        if self._read() is None:
            return
        self._clear()
        (self._folder / "head.json").unlink(missing_ok=True)
        self._say("Ray head stopped")

    def _clear(self) -> None:
        """End all processes of our heads, also of one whose COVEY_HOME was deleted under it."""
        if self.record() is None:
            self._keep_logs()
        temp_dir = str(self._temp_dir())
        for group in {self._pid(), *with_argument(f"--temp-dir={temp_dir}")}:
            end_group(group, temp_dir, self._reap)
        shutil.rmtree(temp_dir, ignore_errors=True)

    def _launch(self) -> HeadRecord:
        self._clear()
        temp_dir = self._temp_dir()
        try:
            temp_dir.mkdir(mode=0o700)
        except OSError as error:
            raise UserError(f"{temp_dir}: cannot be made ({error.strerror})") from error
        gcs, dashboard = free_ports(2)
        record = HeadRecord(
            f"head-{secrets.token_hex(6)}", f"http://127.0.0.1:{dashboard}", time.time()
        )
        (self._folder / "head.pid").unlink(missing_ok=True)
        self._write(record)
        command = [sys.executable, "-P", "-m", "covey.platform.jobs.head_process"]
        command += ["start", "--head"]
        command += [f"--port={gcs}", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
        command += [f"--temp-dir={temp_dir}", "--block", "--no-monitor"]
        command += ["--disable-usage-stats", "--log-color=false"]
        command += [f"--object-store-memory={_object_store_bytes()}"]
        write_pid = 'echo $$ >"$0" && exec "$@"'
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                ["/bin/sh", "-c", write_pid, str(self._folder / "head.pid"), *command],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        (self._folder / "head.pid").write_text(str(self._child.pid))  # the same, for us, at once
        self._say(f"starting a Ray head ({record.url}, log {self.log})")
        return record

    def _keep_logs(self) -> None:
        """What the processes of a head wrote that ended by itself, for whoever asks why."""
        logs = self._temp_dir() / "session_latest" / "logs"
        if logs.exists():
            shutil.rmtree(self.kept_logs, ignore_errors=True)
            with suppress(OSError):  # a full disk is no reason to start no head
                shutil.copytree(logs, self.kept_logs)

    def _is_alive(self, record: HeadRecord) -> bool:
        self._reap()
        pid = self._pid()
        if not pid:
            return time.time() < record.launched_s + _PID_LIMIT_S
        try:
            process = psutil.Process(pid)
            command = process.cmdline()  # empty for a moment when the shell becomes Python
            ours = not command or any(str(self._temp_dir()) in part for part in command)
            return ours and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def _reap(self) -> None:
        if self._child is not None and self._child.poll() is not None:
            self._child = None

    def _temp_dir(self) -> Path:
        """Ray's own folder: short, ours alone, not inside COVEY_HOME (Ray fills it with logs)."""
        base = tempfile.gettempdir()
        if len(base) > _MAX_TEMP_DIR - 28:
            base = "/tmp"
        key = sha256(str(self._folder).encode()).hexdigest()[:8]
        return Path(base) / f"covey-ray-{os.getuid()}-{key}"

    def _pid(self) -> int:
        """The head's process, which leads its group; 0 while it has not said."""
        try:
            return int((self._folder / "head.pid").read_text())
        except (OSError, ValueError):
            return 0

    def _read(self) -> HeadRecord | None:
        try:
            return HeadRecord(**json.loads((self._folder / "head.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def _write(self, record: HeadRecord) -> None:
        beside = self._folder / "head.json.new"
        try:
            beside.write_text(json.dumps(asdict(record)))
            os.replace(beside, self._folder / "head.json")
        except OSError as error:
            raise UserError(f"{beside}: cannot be written ({error.strerror})") from error


def _object_store_bytes() -> int:
    """Modest: sampled data flows past the object store. Ray's default is a third of all memory."""
    return max(200_000_000, psutil.virtual_memory().total // 20)
