"""The pictures of a run: its learning curves, `curves.png`, a panel for each metric that matters,
and what else its workload draws.
"""

from collections.abc import Iterable, Mapping
from io import BytesIO
from itertools import pairwise
from pathlib import Path

from covey.platform.errors import UserError
from covey.platform.jobfile.model import JobFile
from covey.platform.runs.durable import write_whole
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.metrics import read_metrics
from covey.platform.runs.panels import Lines, Panel, Series, course, draw_figure
from covey.platform.runs.result import read_result
from covey.platform.workload import Illustrated, find_workload

MAX_PANELS = 6
FIRST = (
    "episode_return_mean",
    "accuracy",
    "loss",
    "train_loss",
    "policy_loss",
    "value_loss",
    "entropy",
    "sampling_hz",
    "round_s",
)
"""Metrics in the order of their worth to somebody who glances at a run; others follow by name."""

BESIDE = {"episode_return_mean": "evaluation_return_mean"}
"""What is drawn into another metric's panel: the same quantity, measured another way."""

TITLES = {
    "episode_return_mean": "episode return (mean of 100)",
    "episode_length_mean": "episode length (env steps)",
    "sampling_hz": "sampling rate (env steps/s)",
    "update_hz": "update rate (updates/s)",
    "update_frame_hz": "update frame rate (samples/s)",
    "transfer_cycle_s": "transfer cycle (s)",
    "loss_fraction": "samples lost (fraction)",
    "weight_age": "weight age (versions)",
    "cpu_percent": "CPU use (%, 100 a core)",
    "gpu_percent": "GPU use (%)",
    "round_s": "time a round (s)",
}
FROM_ZERO = ("_hz", "_s", "_percent", "_age", "_fraction")
"""Rates and times start at zero, so that noise does not look like change."""


def draw_pictures(run_dir: Path) -> list[Path]:
    """Draw `curves.png` and the workload's own pictures anew; returns where they are, the curves
    first. UserError when there is nothing to draw yet.
    """
    workload = find_workload(RunFolder.open(run_dir).job().workload)
    own = workload.pictures(run_dir) if isinstance(workload, Illustrated) else {}
    return [plot_curves(run_dir), *(_put(run_dir / name, data) for name, data in own.items())]


def plot_curves(run_dir: Path) -> Path:
    """Draw `curves.png` anew and return its path. UserError when there is nothing to draw yet."""
    folder = RunFolder.open(run_dir)
    job = folder.job()
    lines = read_metrics(folder.metrics)
    panels = panels_of(job, lines)
    if not panels:
        raise UserError(f"{run_dir} holds no metrics yet: there is nothing to draw")
    title = f"{job.name}: {read_result(folder.path).get('state', 'running')}"
    return _put(folder.curves, picture(panels, title, standing(job, lines[-1])))


def standing(job: JobFile, last: Mapping[str, float]) -> str:
    """Where a run stands after its last report, in one line or two."""
    steps = f"{last['step']:,.0f} {unit_of(job)} in {last['wall_s']:,.1f} s of training"
    workload = find_workload(job.workload)
    if not isinstance(workload, Illustrated):
        return steps
    accuracy = [f"accuracy {last['accuracy']:.4f}"] if "accuracy" in last else []
    return f"{steps}\n{' · '.join([*accuracy, *workload.headline(last)])}"


def picture(panels: list[Panel], title: str, detail: str) -> bytes:
    """A PNG of the panels."""
    out = BytesIO()
    draw_figure(panels, title, detail).savefig(out, format="png", dpi=120)
    return out.getvalue()


def panels_of(job: JobFile, lines: Lines) -> list[Panel]:
    """What is shown of a run: as its workload chooses, else by the metrics' names."""
    workload = find_workload(job.workload)
    if isinstance(workload, Illustrated):
        return list(workload.panels(job, lines))
    unit, stop = unit_of(job), job.stop
    return [
        metric_panel(name, lines, unit, getattr(stop, name, None)) for name in choose_panels(lines)
    ]


def choose_panels(lines: Lines, shown: Iterable[str] = ()) -> list[str]:
    """The metrics to draw, best first: at most `MAX_PANELS`, none that only counts up or never
    moves.
    """
    found = {name for line in lines for name in line} - {"step", "wall_s", *shown}
    first = [name for name in FIRST if name in found]
    rest = found - set(first) - {BESIDE[name] for name in first if name in BESIDE}
    others = sorted(name for name in rest if not _is_dull(name, lines))
    return (first + others)[:MAX_PANELS]


def metric_panel(
    name: str, lines: Lines, unit: str, goal: float | None = None, along: str = "step"
) -> Panel:
    """One metric of the lines against another that only grows, with what belongs beside it."""
    series = [course(lines, name, along)]
    if beside := BESIDE.get(name):
        other = course(lines, beside, along)
        if other.x:
            series.append(Series(other.x, other.y, beside.split("_")[0], points=True))
    title = TITLES.get(name, name.replace("_", " "))
    return Panel(title, tuple(series), unit, goal, from_zero=name.endswith(FROM_ZERO))


def unit_of(job: JobFile) -> str:
    """What the job's steps are, in words."""
    return find_workload(job.workload).step_unit.replace("env_", "environment ")


def _put(path: Path, data: bytes) -> Path:
    write_whole(path, data, lasting=False)
    return path


def _is_dull(name: str, lines: Lines) -> bool:
    values = [line[name] for line in lines if name in line]
    grows = all(later >= earlier for earlier, later in pairwise(values))
    return grows and all(float(value).is_integer() for value in values)
