"""Pictures of a run that goes on: its curves and meters, and the newest policy's episode."""

import time
from collections.abc import Callable, Sequence

from covey.algorithms.animation import MAX_FRAMES, Film, encode_gif
from covey.envs.make import EnvSource, described
from covey.envs.stage import CannotRender, Stage, open_stage
from covey.platform.runs.live import NAME as LIVE
from covey.platform.runs.live import draw_live
from covey.platform.runtime.fragment import Weights
from covey.platform.runtime.interfaces import ActingPolicy
from covey.platform.runtime.threads import one_blas_thread

EPISODE = "episode.gif"
DRAWING_S = 5.0
"""About as much CPU time may the frames of one episode take."""
MIN_FRAMES = 30
PAUSE = 20.0
"""After an episode has been shown, this many times as long as that took until the next one."""


class Viewer:
    """The same class inline or as a Ray actor. The training's random numbers stay untouched."""

    def __init__(
        self,
        source: EnvSource,
        make_policy: Callable[[], ActingPolicy],
        job_name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        one_blas_thread()
        self._source = source
        self._policy = make_policy()
        self._job_name = job_name
        self._clock = clock
        self._stage: Stage | None = None
        self._shown = -1
        self._next_at = 0.0
        self._hopeless = False
        self.reason = ""
        """Why there is no new episode to be seen; empty if there is."""

    def draw(
        self, history: Sequence[dict[str, float]], weights: Weights | None
    ) -> dict[str, bytes]:
        """`live.png` of the metrics lines so far, and `episode.gif` if it is time for a new one
        and these weights are new.

        Meant to be called every few seconds. An episode that could not be shown is no error:
        `reason` and the picture say why.
        """
        pictures = {}
        if weights is not None and weights.version > self._shown and self._is_due():
            began = self._clock()
            episode = self._show(weights)
            self._next_at = self._clock() + PAUSE * (self._clock() - began)
            if episode is not None:
                pictures[EPISODE] = episode
        note = f"no {EPISODE}: {self.reason}" if self.reason else ""
        return {LIVE: draw_live(history, self._job_name, note), **pictures}

    def close(self) -> None:
        if self._stage is not None:
            self._stage.close()
            self._stage = None

    def _is_due(self) -> bool:
        return not self._hopeless and self._clock() >= self._next_at

    def _show(self, weights: Weights) -> bytes | None:
        try:
            if self._stage is None:
                self._stage = open_stage(self._source)
            gif = self._play(self._stage, weights)
        except CannotRender as error:
            self._hopeless = True
            self._give_up(str(error))
        except Exception as error:  # of the environment: the next episode is played on a new one
            self._give_up(f"{self._source}: playing an episode failed: {described(error)}")
        else:
            self._shown, self.reason = weights.version, ""
            return gif
        return None

    def _give_up(self, reason: str) -> None:
        self.reason = reason
        self.close()

    def _play(self, stage: Stage, weights: Weights) -> bytes:
        """The beginning of an episode, which differs from version to version."""
        self._policy.load(weights.arrays)
        observations, ended = stage.begin(seed=weights.version), False
        film = Film(stage.step_s, affordable_frames(stage))
        while True:
            if film.wanted or ended:
                film.add(stage.picture())
            if ended or film.full:
                break
            observations, ended = stage.step(self._policy.best(observations))
            film.step()
        gif, _ = encode_gif(film.frames, film.frame_s)
        return gif


def affordable_frames(stage: Stage) -> int:
    """How many frames of an episode can be drawn in `DRAWING_S`: an even number."""
    # CPU time: on a busy machine waiting is no reason for a worse picture.
    began = time.process_time()
    stage.picture()
    picture_s = max(time.process_time() - began, 1e-6)
    # A film has about twice as many frames drawn as it keeps.
    affordable = DRAWING_S / 2 / picture_s
    return 2 * int(min(max(affordable, MIN_FRAMES), MAX_FRAMES) / 2)
