"""The codes among which `code: auto` chooses."""

from covey.platform.coding.registry import least_workers

Wanted = list[tuple[str, int, int]]
"""Names, workers and stragglers of codes to choose among, the most redundant one first."""


def codes_for_results(tasks: int, most: int, tolerate: int) -> Wanted:
    """Where every result is needed, on up to `most` workers."""
    less = sorted({(tasks + most) // 2, tasks + 1}, reverse=True)
    counts = [most, *(count for count in less if tasks < count < most)]
    found = [("mds", count, tolerate) for count in counts]
    copies = most // tasks
    if copies > 1:
        found.append(("replication", copies * tasks, tolerate))
    return [*found, ("ldpc", most, tolerate), ("uncoded", tasks, tolerate)]


def codes_for_sums(tasks: int, most: int, tolerate: int) -> Wanted:
    """Where a sum is needed: each part computed three times, two times, or once; or as often as
    `tolerate` wants it.
    """
    counts = sorted({stragglers for stragglers in (2, 1, tolerate) if tolerate <= stragglers})
    found = [
        (name, most, stragglers)
        for stragglers in reversed(counts)
        for name in ("fractional-repetition", "cyclic")
        if 0 < stragglers < most
    ]
    return [*found, ("uncoded", tasks, tolerate)]


def default_workers(tasks: int, sums: bool, tolerate: int) -> int:
    """How many there are if the job does not say it."""
    if sums:
        return tasks
    return max(2 * tasks, least_workers("mds", tasks, tolerate) or 0)


def enough_workers(tasks: int, sums: bool, tolerate: int) -> int:
    """With which there is a code for certain."""
    if sums:
        return tasks * (tolerate + 1)  # fractional-repetition
    return default_workers(tasks, sums, tolerate)
