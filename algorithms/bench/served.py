"""A process that measures when asked to, and waits in between."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from selectors import EVENT_READ, DefaultSelector
from time import monotonic
from typing import Any

from covey.platform.errors import UserError

START_LIMIT_S = 300.0
PATIENCE_S = 120.0
"""How much longer than asked for a measurement may take: one piece of work is never cut."""
END_LIMIT_S = 30.0


class Served:
    """The other end of `peers.serve`: started once, asked as often as wanted, ended by `close`."""

    def __init__(self, name: str, command: Sequence[str], settings: Mapping[str, Any]) -> None:
        self.name = name
        self._said = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [*command, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,
        )
        self._unread = b""
        self.measures: Sequence[str] = ()
        """What it can measure, once it is ready."""

    def wait_ready(self) -> None:
        """Return when it is prepared. UserError if it cannot."""
        self.measures = self._answer(START_LIMIT_S)["ready"]

    def ask(self, what: str, seconds: float) -> None:
        """Begin a measurement of about so many seconds."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"what": what, "seconds": seconds}).encode())
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._died() from error

    def rate(self, seconds: float) -> float:
        """What the measurement that `ask` began came to, per second."""
        answer = self._answer(seconds + PATIENCE_S)
        return float(answer["count"]) / float(answer["seconds"])

    def _answer(self, limit_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        until = monotonic() + limit_s
        with DefaultSelector() as waiting:
            waiting.register(self._process.stdout, EVENT_READ)
            while b"\n" not in self._unread:
                if not waiting.select(max(until - monotonic(), 0)):
                    raise UserError(f"{self.name} did not answer within {limit_s:.0f} s")
                some = os.read(self._process.stdout.fileno(), 65536)
                if not some:
                    raise self._died()
                self._unread += some
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _died(self) -> UserError:
        status = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        said = f": {lines[-1]}" if lines else ""
        return UserError(f"{self.name} ended with status {status}{said}")

    def close(self) -> None:
        """Let it end; kill it and all that it started if it takes too long."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended already
        try:
            self._process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process.stdout.close()
        self._said.close()
