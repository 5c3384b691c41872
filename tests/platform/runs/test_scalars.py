"""TensorBoard's own reader on our event files."""

import pytest

from covey.platform.runs.folder import RunFolder
from covey.platform.runs.run import Run

# tensorboard 2.21 itself still asks setuptools for `pkg_resources` where that is installed.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard")


def read_points(folder: RunFolder) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder.tensorboard))
    reader.Reload()
    return [(event.step, event.value) for event in reader.Scalars("loss")]


def test_tensorboard_reads_the_points(folder: RunFolder, run: Run) -> None:
    for step in (10, 20):
        run.report(step, {"loss": 1 / step, "entropy": 0.5})
    assert read_points(folder) == [(10, pytest.approx(0.1)), (20, pytest.approx(0.05))]


def test_a_resumed_run_leaves_no_doubled_points(folder: RunFolder, run: Run, parts) -> None:
    for step in (10, 20, 30, 40):
        run.report(step, {"loss": 1.0})
        if step == 20:
            run.checkpoint(20, parts(20))
    run._writer.wait()
    again = Run.claim(folder.path)
    again.restore()
    for step in (30, 40, 50):
        again.report(step, {"loss": 2.0})
    assert read_points(folder) == [(10, 1.0), (20, 1.0), (30, 2.0), (40, 2.0), (50, 2.0)]


def test_a_run_begun_anew_leaves_none_of_the_old_points(folder: RunFolder, run: Run) -> None:
    run.report(10, {"loss": 1.0})
    again = Run.claim(folder.path)
    assert again.restore() is None
    again.report(5, {"loss": 2.0})
    assert read_points(folder) == [(5, 2.0)]


def test_a_record_cut_short_hides_only_itself(folder: RunFolder, run: Run) -> None:
    run.report(10, {"loss": 1.0})
    file = next(folder.tensorboard.iterdir())
    with file.open("ab") as out:
        out.write(b"\x20\0\0")
    again = Run.claim(folder.path)
    again._journal.begin_at(11)
    again.report(20, {"loss": 2.0})
    assert read_points(folder) == [(10, 1.0), (20, 2.0)]
