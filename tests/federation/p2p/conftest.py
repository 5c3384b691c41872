"""Peers and wires that are closed at the end of a test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loopback import Peers, Wire


@pytest.fixture
def make_peers(tmp_path: Path) -> Iterator[Callable[[int], Peers]]:
    made: list[Peers] = []

    def make(count: int) -> Peers:
        made.append(Peers(tmp_path / f"peers{len(made)}", count))
        return made[-1]

    yield make
    for peers in made:
        for name in list(peers.running):
            peers.stop(name)


@pytest.fixture
def make_wire() -> Iterator[Callable[[int], Wire]]:
    made: list[Wire] = []

    def make(to_port: int) -> Wire:
        made.append(Wire(to_port))
        return made[-1]

    yield make
    for wire in made:
        wire.close()
