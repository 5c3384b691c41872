"""When training ends and when a checkpoint is due: pure decisions over a job file's conditions."""

from collections.abc import Mapping

from covey.platform.jobfile.model import Checkpointing, JobFile

_MEASURED = ("episode_return_mean", "evaluation_return_mean", "accuracy")


def reached(job: JobFile, step: int, metrics: Mapping[str, float], wall_s: float) -> str | None:
    """The first stop condition that holds, as text for people; None while training goes on.

    A deterministic job never looks at the clock.
    """
    stop = job.stop
    for name in _MEASURED:
        goal, value = getattr(stop, name), metrics.get(name)
        if goal is not None and value is not None and value >= goal:
            return f"{name} {value:.6g} reached {goal:.6g}"
    for name, limit in (("env_steps", stop.env_steps), ("rounds", stop.rounds)):
        if limit is not None and step >= limit:
            return f"{name} {limit} reached"
    if stop.wall_s is not None and wall_s >= stop.wall_s and not job.deterministic:
        return f"wall_s {stop.wall_s:g} reached"
    return None


def is_due(plan: Checkpointing, step: int, last_step: int, since_last_s: float) -> bool:
    """Whether to write a checkpoint at `step`; `last_step` is that of the one before (0 when
    there is none).

    Step counts are compared by multiples, so that a resumed run writes at the same steps.
    """
    if step == last_step:
        return False
    if plan.every_s is not None and since_last_s >= plan.every_s:
        return True
    counts = (plan.every_env_steps, plan.every_rounds)
    return any(every is not None and step // every > last_step // every for every in counts)
