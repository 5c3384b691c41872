"""The scheduler's hand: stores what changes a job, and carries out what follows from it.

Nothing happens that is not stored first, and every write and every start needs the lease.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from covey.platform.errors import UserError
from covey.platform.jobs.job import Attempt, Job, State
from covey.platform.jobs.launcher import CannotStart, Launcher, Sighting, Start, Unreachable
from covey.platform.jobs.lease import LeaseLost, renew
from covey.platform.jobs.outcome import judge, result_of
from covey.platform.jobs.states import Ended, Instruction, Signal, StopAttempt, apply
from covey.platform.jobs.store import Conflict, JobStore

Prepare = Callable[[Job, str], None]
"""Makes the run folder of a job from the text of its job file, unless it is there."""


@dataclass
class Executor:
    """Acts for the holder of lease `epoch`; every method raises LeaseLost once that is over."""

    store: JobStore
    launcher: Launcher
    prepare: Prepare
    epoch: int
    clock: Callable[[], float] = time.time
    say: Callable[[str], None] = print
    _random: Random = field(default_factory=Random)
    _troubles: dict[str, str] = field(default_factory=dict)

    def change(self, job: Job, signal: Signal) -> None:
        """Store first, then act."""
        changed, instructions = apply(job, signal)
        stored = self.store.replace(job, changed, self.epoch)
        self.say(f"{stored.job_id}: {stored.state}: {stored.reason}")
        for instruction in instructions:
            self.carry_out(stored, instruction)

    def carry_out(self, job: Job, instruction: Instruction) -> None:
        """Start or stop an attempt; to be told twice does no harm."""
        attempt = instruction.attempt
        if isinstance(instruction, StopAttempt):
            self.launcher.stop(attempt.submission_id)
            return
        try:
            self.prepare(job, self.store.job_file(job.job_id))
        except UserError as error:
            self._fail(job, error)
            return
        self.renew()  # one that was stopped just here must not start what another took over
        start = Start(attempt.submission_id, job.run_dir, attempt.number, job.grace_s)
        try:
            self.launcher.submit(start)
        except CannotStart as error:
            self._fail(job, error)

    def _fail(self, job: Job, error: UserError) -> None:
        """End the job: no attempt at it could begin."""
        self.change(job, Ended(self.clock(), State.FAILED, str(error), final=True))

    def end(self, job: Job, sighting: Sighting | None, lost: str = "") -> None:
        """Close the last attempt; whether another follows is the state machine's business."""
        attempt = job.last_attempt
        result = result_of(Path(job.run_dir), attempt.number)
        verdict = judge(sighting, result, lost, stop_requested=job.state is State.STOPPING)
        if sighting is not None:
            self._keep_output(job, attempt)
        signal = Ended(
            self.clock(),
            verdict.result,
            verdict.reason,
            verdict.exit_status,
            verdict.final,
            self._random.random(),
        )
        self.change(job, signal)

    def renew(self) -> None:
        """Keep the lease for another while."""
        self.store.change_lease(lambda lease: renew(lease, self.epoch, self.clock()))

    def guard(self, job_id: str, action: Callable[[], None]) -> None:
        """One job's trouble must not stop the others: say it, and try again at the next turn."""
        try:
            action()
        except LeaseLost:
            raise
        except Conflict:
            pass  # somebody changed the job meanwhile: the next turn sees it as it is now
        except Exception as error:
            self.complain(job_id, f"{type(error).__name__}: {error}")

    def complain(self, about: str, trouble: str) -> None:
        """Say what is wrong once, not at every turn."""
        if self._troubles.get(about) != trouble:
            self._troubles[about] = trouble
            self.say(f"{about}: {trouble}")

    def _keep_output(self, job: Job, attempt: Attempt) -> None:
        """What the driver printed, for the time when the cluster and its logs are gone."""
        try:
            text = self.launcher.output(attempt.submission_id)
            file = Path(job.run_dir) / f"driver-{attempt.number}.txt"
            file.write_text(text, encoding="utf-8", errors="replace")
        except (Unreachable, OSError) as error:
            self.complain(job.job_id, f"its output is not kept: {error}")
