"""The order in which two processes see each other's writes to shared memory.

Every channel publishes in the same way: first the data, then one aligned 8-byte word that makes
them count. Such a word is stored and loaded by a single instruction, so it is never seen half
written; what is left to ensure is the order.

On x86-64 that is almost free of charge: a processor's plain stores become visible in the order of
the program, its loads are done in that order, and no store overtakes an earlier load. Exceptions
are the stores of a large copy: `memcpy` may use string or streaming instructions, which are ordered
neither among each other nor against a word stored *before* the copy. An instruction with a lock
prefix waits for all of them.

Elsewhere (arm64) plain loads and stores are not ordered at all. There it is the C11 atomics of
a lock that we rely on: what precedes its release is seen before it, what follows the next acquire
is done after it, and a release and a later acquire keep their order; hence the second round.
"""

from threading import Lock


def fence() -> None:
    """Keep reads and writes before it from mixing with those after it, as others see them."""
    # A lock of its own for each call: a shared one could be held by another thread during a fork.
    lock = Lock()
    lock.acquire()
    lock.release()
    lock.acquire()
    lock.release()
