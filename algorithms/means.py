"""Figures of gradient steps, gathered until somebody asks."""


class Means:
    """`add` after each step, `take` the means since the last time."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._count, self._elapsed_s = 0, 0.0

    def add(self, elapsed_s: float, **figures: float) -> None:
        """One gradient step: what it took, and its figures."""
        for name, figure in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + figure
        self._count += 1
        self._elapsed_s += elapsed_s

    def take(self) -> dict[str, float]:
        """Means, and seconds a step; nothing if there was none."""
        count, elapsed_s = self._count, self._elapsed_s
        if not count:
            return {}
        means = {name: total / count for name, total in self._sums.items()}
        self._sums, self._count, self._elapsed_s = {}, 0, 0.0
        return {**means, "update_s": elapsed_s / count}
