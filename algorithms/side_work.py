"""What goes on beside the training and never delays it: evaluations, and the live picture."""

import math
import time
from collections.abc import Callable
from functools import partial

from covey.algorithms.parts import env_source, evaluation_environments, make_policy
from covey.algorithms.progress import Progress
from covey.algorithms.section import RLSection
from covey.algorithms.team import Team
from covey.algorithms.viewer import Viewer
from covey.platform.runs.live import thinned
from covey.platform.runs.run import Run
from covey.platform.runtime.crew import Crew, Pending, Worker, WorkerLost
from covey.platform.runtime.evaluator import Evaluation, Evaluator

PATIENCE_S = 20.0
"""So long a run that has ended waits for its last picture: on a busy machine it comes late."""
EVALUATION_PATIENCE_S = 300.0
"""The same for the last evaluation, which may be of an environment that hangs."""
PICTURE_STEPS, LONGEST_PICTURE_S = 4_000, 60.0
"""Between two pictures there are so many steps, unless so much time has passed: Ray's calls are not
to be many where steps are few.
"""
HISTORY = 1000
"""So many reports, spread over the run, go into the live picture."""


class Background:
    """One worker that is asked for one thing at a time; a lost one is replaced when next asked."""

    def __init__(
        self, crew: Crew, note: Callable[[str, str], None], name: str, *factory: object
    ) -> None:
        self._crew = crew
        self._note = note
        self._name = name
        self._factory = factory
        self._worker: Worker | None = None
        self._pending: Pending | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something asked for is not collected yet."""
        return self._pending is not None

    def ask(self, method: str, *arguments: object) -> None:
        """Begin; call `collect` for the answer before asking again."""
        if self._worker is None:
            self._worker = self._crew.spawn(self._name, *self._factory)  # type: ignore[arg-type]
        self._pending = self._worker.submit(method, *arguments)

    def collect(self, patience_s: float = 0.0) -> object | None:
        """The answer; None if there is none in time, or none any more since the worker died."""
        if self._pending is None or not self._comes(self._pending, patience_s):
            return None
        pending, self._pending = self._pending, None
        try:
            (answer,) = self._crew.fetch([pending])
        except WorkerLost as error:
            self._worker = None
            self._note("replaced", f"{str(error).splitlines()[0]}; another one will be asked next")
            return None
        found: object = answer
        return found

    def _comes(self, pending: Pending, patience_s: float) -> bool:
        if patience_s == math.inf:
            return True  # fetching it is waiting for it
        if patience_s:
            self._crew.wait([pending], patience_s)
        return self._crew.is_ready(pending)


class EvaluationWork:
    """Evaluates the newest weights every so many steps. Waits for the answer only in lock-step."""

    def __init__(self, crew: Crew, team: Team, progress: Progress) -> None:
        job = team.job
        section: RLSection = job.section
        self._every = section.evaluation.every_env_steps
        self._episodes = section.evaluation.episodes
        self._deterministic = job.deterministic
        self._team = team
        self._progress = progress
        self._work = Background(
            crew,
            team.note,
            "evaluator",
            Evaluator,
            evaluation_environments(job, self._episodes),
            partial(make_policy, team.spaces, section),
        )

    def look(self) -> None:
        """Take in an evaluation that has ended, begin one that is due."""
        if self._every is None:
            return
        self._take_in()
        progress = self._progress
        if not self._work.is_busy and progress.env_steps >= progress.evaluated_at + self._every:
            progress.evaluated_at = progress.env_steps
            self._work.ask("evaluate", self._team.newest_weights(), self._episodes)
            self._take_in(math.inf if self._deterministic else 0.0)

    def finish(self) -> bool:
        """Wait a while for one that is under way; whether it came."""
        came = self._take_in(EVALUATION_PATIENCE_S)
        if self._work.is_busy:
            self._team.note(
                "no-evaluation", f"the last one did not end within {EVALUATION_PATIENCE_S:g} s"
            )
        return came

    def _take_in(self, patience_s: float = 0.0) -> bool:
        """Note what was found out; whether there was anything."""
        found = self._work.collect(patience_s)
        if isinstance(found, Evaluation):
            self._progress.evaluated = {
                "evaluation_return_mean": float(found.returns.mean()),
                "evaluation_return_std": float(found.returns.std()),
            }
        return isinstance(found, Evaluation)


class ViewerWork:
    """Keeps a live picture and the newest episode in the run folder; not while all is inline."""

    def __init__(self, run: Run, crew: Crew, team: Team) -> None:
        section: RLSection = team.job.section
        self._run = run
        self._team = team
        self._every_s = section.viewer.every_s if section.sampling.samplers else None
        self._drawn_s, self._drawn_step = time.monotonic(), -PICTURE_STEPS
        self._history: list[dict[str, float]] = []
        self._work = Background(
            crew,
            team.note,
            "viewer",
            Viewer,
            env_source(run.job),
            partial(make_policy, team.spaces, section),
            run.job.name,
        )

    def look(self, step: int, metrics: dict[str, float]) -> None:
        """Note what was reported; write what was drawn, and have it drawn anew when it is time."""
        if self._every_s is None:
            return
        self._history.append({"step": step, "wall_s": self._run.wall_s, **metrics})
        if len(self._history) > 2 * HISTORY:
            self._history = list(thinned(self._history, HISTORY))
        self._write()
        if not self._work.is_busy and self._is_due(step, self._every_s):
            self._drawn_s, self._drawn_step = time.monotonic(), step
            self._ask()

    def _is_due(self, step: int, every_s: float) -> bool:
        since_s = time.monotonic() - self._drawn_s
        enough = step - self._drawn_step >= PICTURE_STEPS
        return since_s >= every_s and (enough or since_s >= LONGEST_PICTURE_S)

    def finish(self) -> None:
        """A last picture of the final state."""
        if self._every_s is None or not self._history:
            return
        self._write(PATIENCE_S)
        if not self._work.is_busy:
            self._ask()
            self._write(PATIENCE_S)
        if self._work.is_busy:
            self._run.event("no-picture", f"the last one was not drawn within {PATIENCE_S:g} s")

    def _ask(self) -> None:
        history = thinned(self._history, HISTORY)
        self._work.ask("draw", history, self._team.newest_weights())

    def _write(self, patience_s: float = 0.0) -> None:
        try:
            found = self._work.collect(patience_s)
        except Exception as defect:  # a picture is not worth a run
            self._every_s = None
            self._run.event("no-picture", f"the live picture could not be drawn: {defect!r}")
            return
        if isinstance(found, dict):
            for name, data in found.items():
                self._run.picture(name, data)
