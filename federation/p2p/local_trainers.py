"""Who trains the peers of a job: a built-in app, or the ClientApp of an app folder."""

from collections.abc import Callable, Mapping, Sequence

from covey.federation.data import missing_data
from covey.federation.p2p.built_in import BuiltInPeers
from covey.federation.p2p.learners import Learners
from covey.federation.p2p.rounds import Schedule
from covey.federation.p2p.section import PeerSection
from covey.federation.p2p.task import Task
from covey.federation.section import BUILT_IN_APPS
from covey.platform.errors import UserError
from covey.platform.jobfile.model import JobFile
from covey.platform.runs.run import Run

Work = Callable[[Learners], Mapping[str, float]]
"""All rounds of some peers, with those who train them. Returns the last round's metrics."""


def task_of(job: JobFile) -> Task | None:
    """What peers of a built-in app know, None with an app folder. UserError without the data."""
    if job.section.app not in BUILT_IN_APPS:
        return None
    task = Task.of(job)
    if reason := missing_data(task.settings.data):
        raise UserError(reason)
    return task


def schedule_of(job: JobFile, task: Task | None) -> Schedule:
    """Of the job's rounds. How many samples peers have is told by the app folder's replies."""
    section: PeerSection = job.section
    sizes = task.sizes if task is not None else [1] * section.peers
    return Schedule(section, job.seed, sizes)


def with_learners(
    run: Run, task: Task | None, peers: Sequence[int], work: Work
) -> Mapping[str, float]:
    """Do the work with those who train these of the job's peers."""
    if task is not None:
        return work(BuiltInPeers(task, peers))
    from covey.federation.p2p.app_rounds import AppRounds

    return AppRounds(run, peers, work).run()
