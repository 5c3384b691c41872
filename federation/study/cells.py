"""What was found: a cell for each row in each setting, and all numbers as a document."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from covey.federation.study.parts import Row, Setting
from covey.federation.study.plan import Plan, Trial
from covey.federation.study.record import METRICS, Record, best_rate
from covey.federation.study.statistics import Difference, Spread, paired_difference, spread
from covey.federation.study.trials import Trials


@dataclass(frozen=True)
class Cell:
    """A row in a setting: the score of each rate that was tried, the chosen one, and a run for each
    seed.
    """

    row: Row
    setting: Setting
    tried: Mapping[float, float]
    rate: float
    runs: Mapping[int, Record]

    def scores(self, metric: str) -> list[float]:
        """Of each seed, in their order."""
        return [self.runs[seed].score(metric) for seed in sorted(self.runs)]

    def spread(self, metric: str) -> Spread:
        """Of the scores over the seeds."""
        return spread(self.scores(metric))

    @property
    def megabytes(self) -> float:
        """Up and down in a run, on average."""
        return spread([run.megabytes for run in self.runs.values()]).mean

    def difference(self, metric: str, cells: Iterable["Cell"]) -> Difference | None:
        """From the row that this one is measured against; None if that is itself or not there."""
        for cell in cells:
            if (cell.row.label, cell.setting) == (self.row.against, self.setting):
                if cell is self:
                    return None
                return paired_difference(self.scores(metric), cell.scores(metric))
        return None


def compare(plan: Plan, trials: Trials) -> Iterator[list[Cell]]:
    """The cells of a setting, one setting after another."""
    for setting in plan.part.settings:
        tuned = trials.finish(list(plan.tuning(setting)))
        tried = {
            row.label: {
                trial.rate: record.score("accuracy")
                for trial, record in tuned.items()
                if trial.row.label == row.label
            }
            for row in plan.part.rows
        }
        rates = {
            label: best_rate(scores) if scores else plan.rates[0] for label, scores in tried.items()
        }
        found = trials.finish(list(plan.runs(setting, rates)))
        yield [
            Cell(row, setting, tried[row.label], rates[row.label], _by_seed(row, found))
            for row in plan.part.rows
        ]


def _by_seed(row: Row, found: Mapping[Trial, Record]) -> dict[int, Record]:
    return {trial.seed: record for trial, record in found.items() if trial.row.label == row.label}


def document(plan: Plan, cells: Sequence[Cell], curves: bool = True) -> dict[str, Any]:
    """All numbers, as plain JSON values."""
    return {
        "rounds": plan.rounds,
        "app": plan.app,
        "public": plan.public,
        "order": plan.order,
        "cells": [_cell(cell, cells, curves) for cell in cells],
    }


def _cell(cell: Cell, cells: Sequence[Cell], curves: bool) -> dict[str, Any]:
    runs = [{"seed": seed, **cell.runs[seed].document()} for seed in sorted(cell.runs)]
    return {
        "method": cell.row.label,
        "section": dict(cell.row.section),
        **asdict(cell.setting),
        "learning_rate": cell.rate,
        "tuning": {f"{rate:g}": score for rate, score in cell.tried.items()},
        "megabytes": cell.megabytes,
        **{metric: _scores(cell, metric, cells) for metric in METRICS},
        "runs": runs if curves else [{"seed": run["seed"], "job": run["job_id"]} for run in runs],
    }


def _scores(cell: Cell, metric: str, cells: Sequence[Cell]) -> dict[str, Any]:
    difference = cell.difference(metric, cells)
    return {
        **asdict(cell.spread(metric)),
        "seeds": cell.scores(metric),
        "against": cell.row.against if difference else None,
        "difference": asdict(difference) if difference else None,
    }
