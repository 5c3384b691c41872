"""The launcher over Ray's job submission API: on a local head of our own, or on a given cluster.

Ray is imported when it is first asked something: a scheduler holds its lease by then.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from covey.platform.errors import UserError
from covey.platform.jobs.launcher import Cluster, Sighting, Start, Unreachable
from covey.platform.jobs.ray_head import RayHead
from covey.platform.jobs.shipping import shipped

if TYPE_CHECKING:
    from covey.platform.jobs.ray_api import RayApi

START_LIMIT_S = 300.0
"""A head that has started answers within 10 s, on a busy machine within minutes."""
SILENCE_LIMIT_S = 150.0
"""Any other, which has answered before, is ended after so long without an answer."""
_QUICK_STARTS = 3
_LONGEST_PAUSE_S = 60.0


class LocalRay:
    """Attempts run on this machine, on a head that is started when it is first needed."""

    def __init__(self, home: Path, say: Callable[[str], None] = print) -> None:
        self._head = RayHead(home, say)
        self._say = say
        self._api: RayApi | None = None
        self._api_of = ""
        self._starts = 0
        self._next_start_s = 0.0
        self._heard_s = time.time()

    def cluster(self) -> Cluster | None:
        """The head, once it answers and has a node. Unreachable between tries when it does not
        start again and again: a busy machine gets quieter, and jobs that wait must not wait for
        nobody.
        """
        record = self._head.record()
        if record is None:
            self._api = None
            self._start()
            return None
        try:
            total = self._connect().capacity()
        except Unreachable:
            total = None
        if total is None:  # a head without its node (Ray's agents end it at times) is of no use
            limit_s = START_LIMIT_S if self._starts else SILENCE_LIMIT_S
            if time.time() > max(record.launched_s, self._heard_s) + limit_s:
                self._say(f"the Ray head has not answered for {limit_s:g} s: ending it")
                self._head.stop()
            return None
        self._heard_s = time.time()
        self._starts = 0
        return Cluster(record.head_id, total, fixed=True)

    def _start(self) -> None:
        if self._starts >= _QUICK_STARTS and time.time() < self._next_start_s:
            raise Unreachable(
                f"the local Ray head does not start; see {self._head.log}. It is tried again and "
                "again, and jobs wait until it does"
            )
        if self._starts:
            words, logs = self._head.last_words(), self._head.kept_logs
            self._say(f"the Ray head ended before it answered: {words} (Ray's logs: {logs})")
        self._starts += 1
        pause_s = min(_LONGEST_PAUSE_S, 2.0 ** min(self._starts, 10))
        self._next_start_s = time.time() + pause_s
        self._head.start()

    def serves(self, cluster_id: str) -> bool:
        record = self._head.record()
        return record is not None and record.head_id == cluster_id

    def is_gone(self, cluster_id: str) -> bool:
        """A head is followed by another only when it is dead; what a killed one left is ended."""
        record = self._head.record()
        if record is None:
            self._head.stop()
        return record is None or record.head_id != cluster_id

    def submit(self, start: Start) -> None:
        self._connect().submit(start)

    def look(self, submission_id: str) -> Sighting | None:
        return self._connect().look(submission_id)

    def stop(self, submission_id: str) -> None:
        self._connect().stop(submission_id)

    def output(self, submission_id: str) -> str:
        return self._connect().output(submission_id)

    def close(self, leave_running: bool) -> None:
        if not leave_running:
            self._head.stop()

    def _connect(self) -> "RayApi":
        from covey.platform.jobs.ray_api import RayApi

        record = self._head.record()
        if record is None:
            raise Unreachable("there is no Ray head")
        if self._api is None or self._api_of != record.head_id:
            self._api, self._api_of = RayApi(record.url), record.head_id
        return self._api


class JoinedRay:
    """Attempts run on somebody's cluster, which is neither started nor stopped here.

    UserError for an address that is none, where nothing answers, or where our token is refused.
    Run folders must lie where that cluster's head can reach them under the same path.
    """

    def __init__(self, address: str) -> None:
        from covey.platform.jobs.ray_api import RayApi, resolve

        try:
            self._api = RayApi(resolve(address))
            self._session = self._api.session()
        except Unreachable as error:
            raise UserError(f"--address {address}: no Ray cluster answers ({error})") from error

    def cluster(self) -> Cluster | None:
        self._session = self._api.session()
        total = self._api.capacity()
        return None if total is None else Cluster(self._session, total, fixed=False)

    def serves(self, cluster_id: str) -> bool:
        return cluster_id == self._session

    def is_gone(self, cluster_id: str) -> bool:
        """Another cluster answers at the address now."""
        return cluster_id != self._session

    def submit(self, start: Start) -> None:
        with shipped(Path(start.run_dir)) as parts:
            self._api.submit(start, parts)

    def look(self, submission_id: str) -> Sighting | None:
        sighting = self._api.look(submission_id)
        if sighting is None:
            self._session = self._api.session()
        return sighting

    def stop(self, submission_id: str) -> None:
        self._api.stop(submission_id)

    def output(self, submission_id: str) -> str:
        return self._api.output(submission_id)

    def close(self, leave_running: bool) -> None:
        """Nothing of ours runs there but attempts."""
