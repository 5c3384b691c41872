"""Errors that reach a user as one clear line. Anything else that is raised is a defect of ours."""

from collections.abc import Sequence

from covey.platform.exit_status import ExitStatus

Key = tuple[str | int, ...]


class UserError(Exception):
    """A mistake its reader can mend: says what is wrong, where, and what to do.

    The command line prints the message without a traceback and exits with `exit_status`. A job that
    ends with one is not tried again: the same input would fail the same way.
    """

    exit_status = ExitStatus.USER_MISTAKE


class KeyProblem(Exception):
    """A wrong value in a job file, found by a check that knows the key but not the file.

    `key` is the path to the value, e.g. ("rl", "env", "id"). The loader turns it into a
    `JobFileError` with file and line.
    """

    def __init__(self, key: Key, message: str) -> None:
        super().__init__(message)
        self.key = key
        self.message = message


class JobFileError(UserError):
    """A job file that cannot be used; one line a problem, each with file, line, key and reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Superseded(UserError):
    """A newer attempt owns the run folder: this writer must stop without touching it again."""

    exit_status = ExitStatus.SUPERSEDED
