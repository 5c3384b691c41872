"""An episode as an animated GIF that is small, whatever the episode's length."""

import io
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from PIL import Image

MAX_FRAMES = 300
MAX_SIZE = (320, 420)
"""Width and height."""
MAX_BYTES = 2_000_000
MAX_GAP_S = 0.1
"""More than this of the episode's time between two frames is no movement any more: a long episode
is shown from its beginning, as far as the frames reach.
"""
LAST_S = 1.5
"""How long the last frame stays."""


class Film:
    """Frames of an episode, every `stride`-th step's; at most `limit` of them, an even number."""

    def __init__(self, step_s: float, limit: int = MAX_FRAMES) -> None:
        """`step_s`: what a step lasts at the environment's own pace."""
        self._step_s = step_s
        self._limit = limit
        self._steps = 0
        self.frames: list[Image.Image] = []
        self.stride = 1

    @property
    def wanted(self) -> bool:
        """Whether this step is one to `add` a frame of."""
        return self._steps % self.stride == 0

    @property
    def full(self) -> bool:
        """Whether nothing more goes in."""
        return len(self.frames) >= self._limit and 2 * self.frame_s > MAX_GAP_S

    @property
    def frame_s(self) -> float:
        """How long to show each frame."""
        return self._step_s * self.stride

    def add(self, pixels: NDArray[Any]) -> None:
        """Take in uint8 [H, W, 3]. If that is one too many, every second one so far goes."""
        if len(self.frames) >= self._limit:
            self.frames = self.frames[::2]
            self.stride *= 2
        self.frames.append(scaled(Image.fromarray(pixels)))

    def step(self) -> None:
        """The episode has gone on by one step."""
        self._steps += 1


def scaled(image: Image.Image) -> Image.Image:
    """To fit into `MAX_SIZE`; a small one in whole multiples, so that its pixels stay pixels."""
    fits = min(most / is_now for most, is_now in zip(MAX_SIZE, image.size, strict=True))
    if fits >= 1:
        times = int(fits)
        return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    width, height = (max(1, round(length * fits)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)


def encode_gif(
    frames: Sequence[Image.Image], frame_s: float, max_bytes: int = MAX_BYTES
) -> tuple[bytes, int]:
    """A GIF that repeats for ever, `frame_s` a frame, and how many of the frames are in it.

    If it would be larger than `max_bytes`, half of the frames are left out, and so on.
    """
    stride = 1
    while True:
        chosen = frames[::stride]
        data = _encode(chosen, frame_s * stride)
        if len(data) <= max_bytes or len(chosen) == 1:
            return data, len(chosen)
        stride *= 2


def _encode(frames: Sequence[Image.Image], frame_s: float) -> bytes:
    # One palette for all, and no dithering: what does not move costs nothing then.
    palette = _common_palette(frames)
    drawn = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    # GIFs count hundredths of a second, and viewers slow down what is faster than two of them.
    frame_ms = max(20, round(frame_s * 100) * 10)
    out = io.BytesIO()
    drawn[0].save(
        out,
        format="GIF",
        save_all=True,
        append_images=drawn[1:],
        duration=[frame_ms] * (len(drawn) - 1) + [max(frame_ms, round(LAST_S * 1000))],
        loop=0,
    )
    return out.getvalue()


def _common_palette(frames: Sequence[Image.Image]) -> Image.Image:
    """256 colours that suit some of the frames."""
    some = frames[:: max(1, len(frames) // 8)]
    width, height = some[0].size
    strip = Image.new("RGB", (width, height * len(some)))
    for index, frame in enumerate(some):
        strip.paste(frame, (0, height * index))
    return strip.quantize(256)
