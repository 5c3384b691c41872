import io

import numpy as np
import pytest
from PIL import Image

from covey.algorithms.animation import LAST_S, Film, encode_gif, scaled


def frame(colour: int, width: int = 4, height: int = 2) -> Image.Image:
    return Image.new("RGB", (width, height), (colour, colour, colour))


def play(film: Film, steps: int) -> list[int]:
    """Frames whose colour is the step they show; those that stay."""
    for step in range(steps):
        if film.full:
            break
        if film.wanted:
            film.add(np.full((2, 4, 3), step, dtype=np.uint8))
        film.step()
    return [image.getpixel((0, 0))[0] for image in film.frames]


@pytest.mark.parametrize(
    ("steps", "shown"),
    [
        (1, [0]),
        (4, [0, 1, 2, 3]),
        (5, [0, 2, 4]),
        (9, [0, 4, 8]),
        (16, [0, 4, 8, 12]),
        (1000, [0, 4, 8, 12]),
    ],
)
def test_frames_are_evenly_spaced_and_never_too_many(steps: int, shown: list[int]) -> None:
    assert play(Film(step_s=0.02, limit=4), steps) == shown


def test_frames_are_never_further_apart_than_movement_allows() -> None:
    slow = Film(step_s=0.25, limit=4)
    assert play(slow, 100) == [0, 1, 2, 3]
    assert slow.frame_s == 0.25
    quick = Film(step_s=0.03, limit=4)
    assert play(quick, 100) == [0, 2, 4, 6]
    assert quick.frame_s == 0.06


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((600, 400), (320, 213)),
        ((160, 210), (320, 420)),
        ((5000, 1), (320, 1)),
        ((3, 3), (318, 318)),
        ((84, 84), (252, 252)),
        ((10, 2000), (2, 420)),
    ],
)
def test_pictures_fit(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert scaled(Image.new("RGB", size)).size == expected


def test_a_gif_plays_at_the_environments_pace_for_ever() -> None:
    data, count = encode_gif([frame(0), frame(100), frame(200)], 0.05)
    assert count == 3
    with Image.open(io.BytesIO(data)) as gif:
        assert (gif.format, gif.n_frames, gif.info["loop"]) == ("GIF", 3, 0)
        seen = []
        for index in range(3):
            gif.seek(index)
            pixel = gif.convert("RGB").getpixel((0, 0))
            assert isinstance(pixel, tuple)
            seen.append((pixel[0], gif.info["duration"]))
    assert seen == [(0, 50), (100, 50), (200, LAST_S * 1000)]


def test_a_large_gif_loses_frames_until_it_fits() -> None:
    generator = np.random.default_rng(0)
    noise = generator.integers(256, size=(8, 32, 32, 3), dtype=np.uint8)
    frames = [Image.fromarray(pixels) for pixels in noise]
    whole, count = encode_gif(frames, 0.05)
    assert count == 8
    data, count = encode_gif(frames, 0.05, max_bytes=len(whole) // 3)
    assert count == 2
    assert len(data) <= len(whole) // 3
    with Image.open(io.BytesIO(data)) as gif:
        assert gif.info["duration"] == 200
    assert encode_gif(frames, 0.05, max_bytes=10)[1] == 1
