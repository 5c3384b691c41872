"""One root seed for a whole job, spread over everything in it that draws random numbers."""

import struct
from hashlib import blake2b
from zlib import crc32

from numpy.random import SeedSequence


def derive(root: int, role: str, *index: int) -> SeedSequence:
    """The seed of one part: `derive(7, "environment", 3, 41)` is episode 41 of environment 3.

    The same (root, role, index) gives the same sequence on every machine; different ones give
    independent sequences. `index` values are >= 0. The spawn key is what `SeedSequence.spawn`
    would set, with the role's checksum in front: no part has to know how many parts there are.
    """
    return SeedSequence(entropy=root, spawn_key=(crc32(role.encode()), *index))


def derive_int(root: int, role: str, *index: int) -> int:
    """The same as one integer in [0, 2**31), for libraries that take nothing else."""
    return int(derive(root, role, *index).generate_state(1)[0] >> 1)


def derive_words(root: int, role: str, *index: int) -> tuple[int, ...]:
    """Five words of 32 bits, likewise one's own for each (root, role, index), by a hash: for seeds
    that are drawn so often that a `SeedSequence`, seven times as slow, would show.
    """
    digest = blake2b(repr((root, role, index)).encode(), digest_size=20).digest()
    return struct.unpack("<5I", digest)
