"""Runs trials as jobs of the scheduler, as many at once as there are cores.

The store and the study's folder are all its memory: one that was killed is followed by another
that submits nothing twice.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from covey.federation.study.folder import StudyFolder
from covey.federation.study.plan import Plan, Trial
from covey.federation.study.record import Record, curve_of
from covey.platform.client import Client
from covey.platform.errors import UserError
from covey.platform.jobs.job import TERMINAL, JobSummary, State
from covey.platform.runs.metrics import read_metrics
from covey.platform.runs.result import read_result

POLL_S = 0.2
LOOK_S = 5.0
"""Between looks whether a scheduler is at work; a killed one is followed by another."""
AHEAD = 2
"""Jobs at the scheduler for each core: one that runs and one that is ready. All others wait here,
or a study that was interrupted would go on for hours.
"""


class Trials:
    """Runs the trials of a plan. `tell` hears of each that has ended."""

    def __init__(
        self,
        plan: Plan,
        client: Client,
        folder: StudyFolder,
        tell: Callable[[Trial, Record, bool], None],
    ) -> None:
        self._plan = plan
        self._client = client
        self._folder = folder
        self._tell = tell
        self._most = AHEAD * len(os.sched_getaffinity(0))
        self._looked_s = float("-inf")

    def finish(self, trials: Sequence[Trial]) -> dict[Trial, Record]:
        """Run all that have not been run; returns what is known of each.

        UserError for a job that fails in spite of its retries. One that had failed before is
        resumed: so the same command tries again.
        """
        names = {trial: str(self._job(trial)["name"]) for trial in trials}
        known = {trial: self._folder.record(name) for trial, name in names.items()}
        found = {trial: record for trial, record in known.items() if record is not None}
        for trial, record in found.items():
            self._tell(trial, record, False)
        submitted = {row.name: row for row in self._client.jobs()}  # the newest of each name
        waiting = deque(trial for trial in trials if trial not in found)
        under_way: dict[str, Trial] = {}
        while waiting or under_way:
            while waiting and len(under_way) < self._most:
                trial = waiting.popleft()
                under_way[self._begin(trial, submitted.get(names[trial]))] = trial
            self._keep_scheduled()
            for job_id, trial in list(under_way.items()):
                ended = self._ended(job_id, trial)
                if ended is not None:
                    del under_way[job_id]
                    self._folder.keep(names[trial], ended)
                    self._tell(trial, ended, True)
                    found[trial] = ended
            time.sleep(POLL_S)
        return {trial: found[trial] for trial in trials}

    def _job(self, trial: Trial) -> dict[str, object]:
        return self._plan.job(trial, self._folder.study)

    def _begin(self, trial: Trial, row: JobSummary | None) -> str:
        """The id of the trial's job: that of the one there is, or of a new one."""
        if row is None or (row.state is State.SUCCEEDED and not Path(row.run_dir).exists()):
            return self._client.submit(self._job(trial))
        if row.state in (State.FAILED, State.STOPPED):
            self._client.resume(row.job_id)
        return row.job_id

    def _ended(self, job_id: str, trial: Trial) -> Record | None:
        """What a job that has succeeded leaves; None while it has not ended."""
        job = self._client.show(job_id)
        if job.state not in TERMINAL:
            return None
        run_dir = Path(job.run_dir)
        if job.state is not State.SUCCEEDED:
            raise UserError(
                f"{trial}: job {job_id} {job.state}: {job.reason} (its log: "
                f"{run_dir / 'log.txt'}); the same command tries it again and goes on"
            )
        result = read_result(run_dir)
        curve = curve_of(read_metrics(run_dir / "metrics.jsonl"))
        return Record(job_id, curve, result["wall_s"], result["process_s"])

    def _keep_scheduled(self) -> None:
        if time.monotonic() > self._looked_s + LOOK_S:
            self._client.start_scheduler()
            self._looked_s = time.monotonic()
