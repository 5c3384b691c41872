"""The process-wide random generators of Python, numpy and torch.

Seed them, put them back, save them.
"""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from covey.platform.seeds import derive_words


def seed_all(root: int, role: str, *index: int) -> None:
    """Seed all three from (root, role, index): the same on every machine."""
    words = derive_words(root, role, *index)
    random.seed(words[0] << 32 | words[1])
    np.random.seed(words[2])  # an array would take seven times as long
    _seed_torch(words[3] << 32 | words[4])


def torch_seed(root: int, role: str, *index: int) -> int:
    """What `seed_all` seeds torch with, for a generator of one's own."""
    words = derive_words(root, role, *index)
    return words[3] << 32 | words[4]


def _seed_torch(seed: int) -> None:
    """`torch.manual_seed` records a stack trace for each kind of device.

    Without a GPU that is waste.
    """
    if _has_gpu():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@cache
def _has_gpu() -> bool:
    return torch.cuda.is_available()


@contextmanager
def preserved() -> Iterator[None]:
    """The generators are the same after the block as before, whoever seeds them or draws within."""
    before_python, before_numpy = random.getstate(), np.random.get_state()
    before_torch = torch.get_rng_state()
    before_cuda = torch.cuda.get_rng_state_all() if _has_gpu() else []
    try:
        yield
    finally:
        random.setstate(before_python)
        np.random.set_state(before_numpy)
        torch.set_rng_state(before_torch)
        if before_cuda:
            torch.cuda.set_rng_state_all(before_cuda)


def save_generators() -> bytes:
    """The state of all three as JSON."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = cast(
        tuple[str, NDArray[np.uint32], int, int, float], np.random.get_state(legacy=True)
    )
    state = {
        "python": [version, words, gauss],
        "numpy": [name, keys.tolist(), position, has_gauss, cached],
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
    }
    return json.dumps(state).encode()


def restore_generators(content: bytes) -> None:
    """Put all three into the state that `save_generators` wrote."""
    state: dict[str, Any] = json.loads(content)
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(torch.frombuffer(bytearray.fromhex(state["torch"]), dtype=torch.uint8))
