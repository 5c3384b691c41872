"""The run folder: which files it has. Everything a run leaves behind is in it, and nothing else
is.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from covey.platform.errors import UserError
from covey.platform.jobfile.load import dump_job_file, load_job_file
from covey.platform.jobfile.model import JobFile
from covey.platform.runs.checkpoint import Checkpoint
from covey.platform.runs.durable import is_leftover, write_whole
from covey.platform.runs.fence import CLAIM
from covey.platform.runs.place import shelf_of

_BEFORE_A_RUN = re.compile(r"\..*|driver-\d+\.txt")
"""Locks and unfinished files, and what a driver said that failed before it claimed the folder."""


@dataclass(frozen=True)
class RunFolder:
    """The names in a run folder. Make one with `create` or `open`."""

    path: Path

    @classmethod
    def create(cls, path: Path, job: JobFile) -> Self:
        """A new run folder that holds `job.yaml`. UserError when the folder exists and is not
        empty.
        """
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file: name a new or an empty folder for the run")
        path.mkdir(parents=True, exist_ok=True)
        # What an interrupted `create` left is not something a user put there.
        if any(not is_leftover(entry) for entry in path.iterdir()):
            raise UserError(f"{path} is not empty: name a new or an empty folder for the run")
        folder = cls(path)
        folder.replace_job(job)
        return folder

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing run folder. UserError when it is none."""
        folder = cls(path)
        if not folder.job_file.is_file():
            raise UserError(f"{path} is no run folder: it holds no job.yaml")
        return folder

    @property
    def is_a_runs(self) -> bool:
        """Whether a run has begun in it, or nothing but its job file was ever put there.

        Any folder may hold a job.yaml of somebody's: nothing of ours may be written beside it.
        """
        marks = (self.events, self.path / CLAIM)
        return any(mark.exists() for mark in marks) or all(
            entry == self.job_file or _BEFORE_A_RUN.fullmatch(entry.name)
            for entry in self.path.iterdir()
        )

    def job(self) -> JobFile:
        """The job as resolved when the run was created (or extended)."""
        return load_job_file(self.job_file)

    def replace_job(self, job: JobFile) -> None:
        """Write `job.yaml` anew, e.g. with a later end for a run that is to go on.

        UserError when its checkpoints would be looked for in another place than they are.
        """
        if self.job_file.exists() and job.checkpoint.path != self.job().checkpoint.path:
            raise UserError(f"{self.path}: a run that has begun keeps its checkpoint.path")
        write_whole(self.job_file, dump_job_file(job).encode())

    def newest_checkpoint(self) -> Checkpoint:
        """The newest whole checkpoint, for readers. UserError when there is none."""
        checkpoint = self.whole_checkpoint()
        if checkpoint is None:
            raise UserError(f"{self.path} holds no whole checkpoint yet")
        return checkpoint

    def whole_checkpoint(self) -> Checkpoint | None:
        """The same, but None when there is none. UserError when a store does not give it."""
        try:
            return shelf_of(self.checkpoints).newest_whole()
        except OSError as error:
            raise UserError(f"{self.path}: no checkpoint can be read: {error.strerror}") from error

    @property
    def job_file(self) -> Path:
        return self.path / "job.yaml"

    @property
    def metrics(self) -> Path:
        """One JSON object a report: `{"step": …, "wall_s": …, name: value…}`."""
        return self.path / "metrics.jsonl"

    @property
    def events(self) -> Path:
        """One JSON object an event: `{"time": …, "attempt": …, "kind": …, "message": …}`."""
        return self.path / "events.jsonl"

    @property
    def log(self) -> Path:
        """The events once more, for people."""
        return self.path / "log.txt"

    @property
    def checkpoints(self) -> Path:
        """One folder a checkpoint, named after its step; `latest` points to the newest whole one.

        With `checkpoint.path` only a note of where they are (`place.py`).
        """
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def result(self) -> Path:
        """How the run ended; absent while it goes on."""
        return self.path / "result.json"

    @property
    def curves(self) -> Path:
        return self.path / "curves.png"
