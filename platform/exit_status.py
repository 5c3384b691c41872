"""The exit statuses of an attempt's process, and of the commands that run one."""

from enum import IntEnum


class ExitStatus(IntEnum):
    """What the number says to whoever waits for the process."""

    SUCCEEDED = 0
    #: perhaps not again
    FAILED = 1
    #: a user's mistake: another attempt would fail the same way
    USER_MISTAKE = 2
    #: a newer attempt owns the run folder
    SUPERSEDED = 3
    #: ended on request, after its last checkpoint was written
    STOPPED = 4
