"""One attempt at a `workload: rl` job: who works on it, and from where it goes on."""

from collections.abc import Mapping
from contextlib import ExitStack

from covey.algorithms import saved
from covey.algorithms.beforehand import Beforehand
from covey.algorithms.parts import (
    env_source,
    least_samplers,
    number_of_samplers,
    probe_spaces,
    with_batch,
    with_setting,
)
from covey.algorithms.progress import Progress
from covey.algorithms.saved import TrainingState
from covey.algorithms.section import Elastic, RLSection
from covey.algorithms.team import Team
from covey.algorithms.training import Training
from covey.algorithms.tuner import Setting
from covey.platform.jobfile.model import JobFile
from covey.platform.runs.run import Run
from covey.platform.runtime.crew import Crew, InlineCrew
from covey.platform.runtime.ray_cluster import StartInterrupted
from covey.platform.runtime.spaces import Spaces


def train(run: Run) -> Mapping[str, float]:
    """Train until `run.stop_reason` says why to stop; the final metrics, the meters' over all
    that the learner of this attempt did: what came before Ray's actors is not in them.
    """
    job = run.job
    checkpoint = run.restore()
    spaces = probe_spaces(env_source(job))
    check_codes(job.section, spaces)
    state = None if checkpoint is None else saved.read(checkpoint)
    metrics: Mapping[str, float] = {}
    with ExitStack() as stack:
        early = None
        if checkpoint is None and starts_early(run):
            early = stack.enter_context(Beforehand(run, spaces))
        try:
            crew = make_crew(job)
        except StartInterrupted:
            return stopped(run, early)
        lives = lives_of(job, state, early is not None)
        team = Team(crew, as_found(job, state), spaces, run.event, lives, asked=asked_setting(job))
        stack.callback(team.close)
        stack.callback(crew.close)
        if not run.stop_requested:
            team.spawn()
        if run.stop_requested:
            return stopped(run, early)
        if early is not None:
            state, metrics = early.end(), early.metrics
            team.before = early.counts
        team.begin(state)
        progress = Progress() if state is None else Progress.from_record(state.progress)
        if early is None:
            run.started()
        else:
            where = {"step": progress.env_steps, "wall_s": round(run.wall_s, 3)}
            run.event("actors", "Ray's actors have started and go on from here", **where)
        return Training(run, crew, team, progress, metrics).run_to_end()


def stopped(run: Run, early: Beforehand | None) -> Mapping[str, float]:
    """The end of a run that is asked to stop before Ray's actors have begun: a checkpoint of what
    was done beforehand.
    """
    state = None if early is None else early.end()
    step = 0
    if state is not None:
        step = Progress.from_record(state.progress).env_steps
        run.checkpoint(step, saved.parts(state))
    run.event("stop", run.stop_reason(step, {}) or "")
    return {} if early is None else early.metrics


def lives_of(job: JobFile, state: TrainingState | None, early: bool) -> int:
    """How many samplers came before each one of a new team. In deterministic mode the same ones go
    on.
    """
    if state is None:
        return int(early)
    return state.lives if job.deterministic else state.lives + 1


def asked_setting(job: JobFile) -> Setting | None:
    """What a job that tunes itself begins with; None for others."""
    sampling = job.section.sampling
    if sampling.tuning is None:
        return None
    return Setting(sampling.samplers, sampling.envs_per_sampler)


def as_found(job: JobFile, state: TrainingState | None) -> JobFile:
    """The job with the setting that was found before, unless it asks for another one now."""
    asked = asked_setting(job)
    if state is None or state.setting is None or asked is None or state.asked != asked:
        return job
    found = with_setting(job, state.setting)
    return with_batch(found, state.batch_size) if state.batch_size else found


def check_codes(section: RLSection, spaces: Spaces) -> None:
    """Raise UserError if the updates cannot be coded as the job says."""
    if section.coded is not None:
        parts = section.learners and section.learners.count
        section.coded.check(parts or spaces.agents, sums=parts is not None)


def starts_early(run: Run) -> bool:
    """Whether this process trains until Ray's actors are there: not where others share the
    cluster, where every step is to be repeated, or where the actors are to compute the updates.
    """
    section: RLSection = run.job.section
    on_ray = number_of_samplers(section) > 0 and run.ray_address == "local"
    return on_ray and not run.job.deterministic and section.coded is None


def make_crew(job: JobFile) -> Crew:
    """Inline without samplers, else Ray actors."""
    samplers = least_samplers(job.section)
    if samplers == 0:
        return InlineCrew()
    from covey.platform.runtime.actors import RayCrew

    elastic = isinstance(job.section.sampling.samplers, Elastic)
    return RayCrew(job.resources, samplers, anywhere=elastic)
