import subprocess
import sys

import pytest

from covey.platform.errors import UserError
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.panels import short_number
from covey.platform.runs.plots import MAX_PANELS, choose_panels, plot_curves
from covey.platform.runs.run import Run


def test_panels_are_the_metrics_that_matter() -> None:
    lines = [
        {
            "step": n,
            "wall_s": n,
            "loss": 1 / n,
            "episode_return_mean": n,
            "updates": n,
            "kl": 0.1 / n,
        }
        for n in (1, 2, 3)
    ]
    assert choose_panels(lines) == ["episode_return_mean", "loss", "kl"]
    many = [{"step": n, **{f"m{index}": 0.5 / n for index in range(20)}} for n in (1, 2)]
    assert len(choose_panels(many)) == MAX_PANELS


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.25, "0.25"), (500, "500"), (50_000, "50k"), (1.5e6, "1.5M"), (-2000, "-2k")],
)
def test_tick_labels(value: float, text: str) -> None:
    assert short_number(value) == text


def test_a_picture_is_drawn_anew_at_any_time(folder: RunFolder, run: Run) -> None:
    with pytest.raises(UserError, match="nothing to draw"):
        plot_curves(folder.path)
    run.report(10, {"loss": 1.0})
    assert plot_curves(folder.path) == folder.curves
    run.report(20, {"loss": 0.5, "late": 0.25})
    first = folder.curves.read_bytes()
    plot_curves(folder.path)
    assert folder.curves.read_bytes() != first


def test_neither_torch_nor_matplotlib_comes_with_a_run() -> None:
    code = (
        "import sys, covey.platform.runs.run, covey.platform.runs.plots; "
        "print({'torch', 'ray', 'matplotlib', 'tensorboard', 'safetensors'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout == "set()\n"
