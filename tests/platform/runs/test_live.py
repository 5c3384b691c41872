import io
import math
import random

import pytest
from PIL import Image

from covey.platform.runs.live import HEIGHT, METERS, WIDTH, choose_small, draw_live, thinned
from covey.platform.runs.panels import smoothed


def history(count: int) -> list[dict[str, float]]:
    chance = random.Random(0)
    return [
        {
            "step": float(n * 1000),
            "wall_s": n / 2,
            "episode_return_mean": 100 * (1 - math.exp(-n / 50)) + chance.gauss(0, 3),
            "policy_loss": chance.gauss(0, 0.01),
            "value_loss": 1 / n,
            **dict.fromkeys(METERS, 10.0),
        }
        for n in range(1, count + 1)
    ]


def picture(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.size) == ("PNG", (WIDTH, HEIGHT))
    return image.convert("RGB")


def test_small_panels_are_meters_then_losses() -> None:
    lines = history(2)
    lines[0]["entropy"] = 0.5
    assert choose_small(lines) == [*METERS, "policy_loss", "value_loss", "entropy"]
    crowded = [{f"part{n}_loss": 1.0 for n in range(50)}]
    assert len(choose_small(crowded)) == 12


def test_a_long_history_is_thinned_and_rare_figures_stay() -> None:
    lines = history(1003)
    lines[500]["evaluation_return_mean"] = 7.0
    few = thinned(lines, 100)
    assert len(few) <= 100
    assert few[-1] == lines[-1]
    assert [line["evaluation_return_mean"] for line in few if len(line) > len(lines[0])] == [7.0]
    assert thinned(lines[:5], 100) == lines[:5]
    assert thinned([]) == []


def test_smoothing_keeps_a_straight_course_and_stays_within_the_values() -> None:
    assert smoothed([3.0] * 40, 5) == pytest.approx([3.0] * 40)
    line = [float(n) for n in range(101)]
    assert smoothed(line, 5)[50] == pytest.approx(50), "it does not lag behind"
    noisy = [float(n % 2) for n in range(100)]
    assert all(0.3 < value < 0.7 for value in smoothed(noisy, 10)[10:-10])


def test_draws_a_run_before_its_first_report_and_later() -> None:
    nothing = picture(draw_live([], "toy"))
    later = picture(draw_live(history(50), "toy", "no episode.gif: it cannot be drawn"))
    # The returns' panel takes the upper left quarter.
    panel = (60, 80, WIDTH // 2, HEIGHT // 2)
    blue = (37, 99, 168)
    assert blue not in colours(nothing.crop(panel))
    assert blue in colours(later.crop(panel))


def colours(image: Image.Image) -> set[tuple[int, ...]]:
    found = image.getcolors(maxcolors=image.width * image.height)
    return {colour for _, colour in found or [] if isinstance(colour, tuple)}
