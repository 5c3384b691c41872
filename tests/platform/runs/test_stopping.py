import pytest

from covey.platform.jobfile.model import Checkpointing
from covey.platform.runs.stopping import is_due, reached

STOP = {"env_steps": 1000, "episode_return_mean": 475, "wall_s": 60}


@pytest.mark.parametrize(
    ("step", "metrics", "wall_s", "reason"),
    [
        (999, {"episode_return_mean": 474.9}, 59.9, None),
        (1000, {}, 0, "env_steps 1000 reached"),
        (10, {"episode_return_mean": 475.0}, 0, "episode_return_mean 475 reached 475"),
        (10, {}, 60, "wall_s 60 reached"),
        (1000, {"episode_return_mean": 480.25}, 60, "episode_return_mean 480.25 reached 475"),
        (10, {"episode_return_mean": float("nan")}, 0, None),
    ],
)
def test_the_first_condition_that_holds(
    step: int, metrics: dict[str, float], wall_s: float, reason: str | None, make_job
) -> None:
    assert reached(make_job(stop=STOP), step, metrics, wall_s) == reason


def test_a_deterministic_job_never_looks_at_the_clock(make_job) -> None:
    job = make_job(stop=STOP)
    job = job.model_copy(update={"deterministic": True})
    assert reached(job, 10, {}, 1e9) is None


@pytest.mark.parametrize(
    ("plan", "step", "last_step", "since_s", "due"),
    [
        (Checkpointing(every_s=60), 5, 0, 59.9, False),
        (Checkpointing(every_s=60), 5, 0, 60, True),
        (Checkpointing(every_s=60), 5, 5, 60, False),
        (Checkpointing(every_env_steps=1000), 2048, 0, 0, True),
        (Checkpointing(every_env_steps=1000), 2999, 2048, 0, False),
        (Checkpointing(every_env_steps=1000), 3000, 2048, 0, True),
        (Checkpointing(every_rounds=5), 4, 0, 0, False),
        (Checkpointing(every_rounds=5, every_s=1), 4, 0, 1, True),
    ],
)
def test_when_a_checkpoint_is_due(
    plan: Checkpointing, step: int, last_step: int, since_s: float, due: bool
) -> None:
    assert is_due(plan, step, last_step, since_s) is due
