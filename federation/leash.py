"""Commands that end, with all that they have started, when the process that started them does.

However that process ends, `kill -9` included: the kernel then closes the pipe on which this file,
run as a script of its own beside the command, waits. (A signal at the parent's death would come
when the *thread* that started the command ends, and would reach none of the command's children.)
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path


class Leashed:
    """A running command; what it says is added to the file `log`."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,  # a Ctrl-C is for the job, which then ends this
            )
        self.pid = self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the command is no longer running."""
        return self._process.poll() is not None

    def end(self) -> None:
        """Kill the command and all that it has started, and wait until they are gone."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def hold(command: Sequence[str]) -> int:
    """Run the command in a process group of its own until it, or standard input, ends."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)

    def wait_for_the_end_of_input() -> None:
        while os.read(0, 1024):
            pass
        _kill_group(process.pid)

    threading.Thread(target=wait_for_the_end_of_input, daemon=True).start()
    status = process.wait()
    _kill_group(process.pid)
    return status if status >= 0 else 128 - status


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass  # nobody left


if __name__ == "__main__":
    sys.exit(hold(sys.argv[1:]))
