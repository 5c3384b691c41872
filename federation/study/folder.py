"""The folder of a study: its id, what is known of its runs, its tables and pictures."""

import fcntl
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from covey.federation.study.record import Record
from covey.platform.errors import UserError
from covey.platform.runs.durable import write_whole


@dataclass(frozen=True)
class StudyFolder:
    """A study goes on in its folder and begins anew in another one: its `study` id is part of its
    jobs' names.
    """

    path: Path
    study: str

    def record(self, name: str) -> Record | None:
        """What is known of the run of that job name; None if it has not ended."""
        try:
            return Record.of(json.loads(self._file(name).read_bytes()))
        except FileNotFoundError:
            return None

    def keep(self, name: str, record: Record) -> None:
        """Know the run from now on, whatever becomes of its run folder."""
        write_whole(self._file(name), json.dumps(record.document()).encode())

    def write(self, name: str, content: bytes) -> None:
        """A table or a picture."""
        write_whole(self.path / name, content, lasting=False)

    def _file(self, name: str) -> Path:
        return self.path / "runs" / f"{name}.json"


@contextmanager
def study_folder(path: Path) -> Iterator[StudyFolder]:
    """The folder, made if there is none. UserError while another process works in it."""
    (path / "runs").mkdir(parents=True, exist_ok=True)
    with (path / "study.id").open("a+") as file:
        try:  # the kernel drops the lock however a process dies
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"--out {path}: another study is at work there") from None
        file.seek(0)
        study = file.read().strip()
        if not study:
            study = secrets.token_hex(4)
            file.write(study + "\n")
            file.flush()
        yield StudyFolder(path, study)
