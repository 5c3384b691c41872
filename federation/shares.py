"""Who trains which clients: shares of a batch of messages that take about as long as each other."""

from collections.abc import Sequence

LEAST_S = 0.02
"""A share that takes less is not worth a call of its own."""
MOST_SHARES = 4
"""For each worker: so many let those that are done early help the others."""
UNKNOWN_S = 1.0
MEMORY = 0.5
"""How much the newest time of a client counts."""


class ClientTimes:
    """Seconds that each client took, smoothed; who was never seen is thought to take the mean."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        self._mean_s: float | None = None

    def took(self, client: int, seconds: float) -> None:
        """Remember it."""
        before = self._seconds.get(client, seconds)
        self._seconds[client] = before + MEMORY * (seconds - before)
        mean = seconds if self._mean_s is None else self._mean_s
        self._mean_s = mean + 0.1 * (seconds - mean)

    def expected_s(self, clients: Sequence[int]) -> list[float]:
        """What each of them will take."""
        mean_s = UNKNOWN_S if self._mean_s is None else self._mean_s
        return [self._seconds.get(client, mean_s) for client in clients]


def dealt(seconds: Sequence[float], workers: int) -> list[list[int]]:
    """Places of `seconds` in shares, the longest share first: the longest ones are dealt first,
    each to the share that has least (Graham 1969, longest processing time first).
    """
    per_worker_s = sum(seconds) / workers
    each = max(1, min(MOST_SHARES, int(per_worker_s / LEAST_S)))
    count = min(len(seconds), workers * each)
    shares: list[list[int]] = [[] for _ in range(count)]
    totals = [0.0] * count
    for place in sorted(range(len(seconds)), key=lambda one: (-seconds[one], one)):
        least = min(range(count), key=totals.__getitem__)
        shares[least].append(place)
        totals[least] += seconds[place]
    return [shares[one] for one in sorted(range(count), key=lambda one: (-totals[one], one))]
