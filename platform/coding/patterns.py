"""Which workers answer: all sets of stragglers of a size, or a sample of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, combinations
from math import comb

from numpy.random import PCG64, Generator

from covey.platform.seeds import derive

ENUMERATED = 10_000
"""Up to so many sets are looked at one by one, more are sampled."""


def received_sets(
    workers: int, stragglers: int, seed: int = 0, most: int = ENUMERATED
) -> Iterator[tuple[int, ...]]:
    """The workers that answer, for every set of stragglers of that size; above `most` sets, for as
    many drawn ones.
    """
    if comb(workers, stragglers) <= most:
        yield from combinations(range(workers), workers - stragglers)
    else:
        generator = Generator(PCG64(derive(seed, "stragglers", workers, stragglers)))
        yield from sampled(workers, stragglers, most, generator)


def sampled(
    workers: int, stragglers: int, count: int, generator: Generator
) -> Iterator[tuple[int, ...]]:
    """The workers that answer: first for stragglers in a row, from each worker on, then for random
    ones.
    """
    everybody = range(workers)
    in_a_row = ({(first + k) % workers for k in range(stragglers)} for first in everybody)
    drawn = (
        set(generator.choice(workers, stragglers, replace=False).tolist())
        for _ in range(max(0, count - workers))
    )
    for late in chain(in_a_row, drawn):
        yield tuple(worker for worker in everybody if worker not in late)


def share_decodable(
    decodable: Callable[[Sequence[int]], bool], sets: Iterable[tuple[int, ...]]
) -> float:
    """The part of the sets that is enough."""
    found = [decodable(received) for received in sets]
    return sum(found) / len(found)
