"""What is run: the trials of a study, and each one's job file."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from covey.federation.study.parts import Part, Row, Setting

RATES = (0.01, 0.03, 0.1)
"""Learning rates that are tried for each row in each setting, unless others are asked for."""
TUNING_SEED = 0
"""The seed that rates are chosen on; those that count begin at 1."""
EVALUATIONS = 10
"""In a run, evenly."""
CLIENTS, COHORT, STEPS, BATCH = 20, 10, 20, 32
"""As Zhu et al. 2021, section 5.1."""
MAX_SLUG = 36


@dataclass(frozen=True)
class Trial:
    """One run of a row in a setting."""

    row: Row
    setting: Setting
    seed: int
    rate: float
    rounds: int

    def __str__(self) -> str:
        what = f"seed {self.seed}" if self.seed != TUNING_SEED else "tuning"
        return f"{self.row.label}, {self.setting}, rate {self.rate:g}, {what}"


@dataclass(frozen=True)
class Plan:
    """A part of the study, how long runs are, what they train, the share of the training data that
    no client has, and in which order clients go over theirs. The seed alone decides who gets
    which samples: rows are paired by it.
    """

    part: Part
    rounds: int = 100
    app: str = "strided-cnn"
    public: float = 0.1
    order: str = "shuffled"
    rates: tuple[float, ...] = RATES

    @property
    def tried(self) -> tuple[float, ...]:
        """The rates that are tried: none where there is no choice."""
        return self.rates if len(self.rates) > 1 else ()

    def tuning(self, setting: Setting) -> Iterator[Trial]:
        """Half a run with each rate, for every row alike."""
        rounds = max(1, self.rounds // 2)
        for row in self.part.rows:
            for rate in self.tried:
                yield Trial(row, setting, TUNING_SEED, rate, rounds)

    def runs(self, setting: Setting, rates: dict[str, float]) -> Iterator[Trial]:
        """Every seed of every row, at the row's rate (by label)."""
        for seed in range(1, self.part.seeds + 1):
            for row in self.part.rows:
                yield Trial(row, setting, seed, rates[row.label], self.rounds)

    @property
    def num_trials(self) -> int:
        a_row = len(self.tried) + self.part.seeds
        return a_row * len(self.part.rows) * len(self.part.settings)

    @property
    def num_rounds(self) -> int:
        """Of all trials together."""
        a_row = len(self.tried) * max(1, self.rounds // 2) + self.part.seeds * self.rounds
        return a_row * len(self.part.rows) * len(self.part.settings)

    def _local(self, rate: float) -> dict[str, Any]:
        local = {"steps": STEPS, "batch_size": BATCH, "learning_rate": rate}
        # Not told where it is the usual one: a study that was begun goes on with its jobs.
        return local if self.order == "shuffled" else {**local, "order": self.order}

    def job(self, trial: Trial, study: str) -> dict[str, Any]:
        """The job file. Its name is of one trial of one study (by its id), whoever asks."""
        partition = {"kind": "dirichlet", "alpha": trial.setting.alpha}
        data: dict[str, Any] = {"name": trial.setting.data, "partition": partition}
        if self.public:
            data["public"] = self.public
        job: dict[str, Any] = {
            "workload": "federated",
            "seed": trial.seed,
            "deterministic": True,
            "resources": {"cpus": 1},
            "stop": {"rounds": trial.rounds},
            "federated": {
                "app": self.app,
                "engine": "cohort",
                "data": data,
                "clients": CLIENTS,
                "cohort": COHORT,
                "local": self._local(trial.rate),
                "evaluate_every": max(1, self.rounds // EVALUATIONS),
                "viewer": {"every_s": None},
                **trial.row.section,
            },
        }
        digest = sha256(json.dumps([study, job], sort_keys=True).encode()).hexdigest()[:10]
        words = f"{trial.row.label} {trial.setting.data} {trial.setting.alpha:g} {trial.seed}"
        slug = re.sub("[^a-z0-9]+", "-", words)[:MAX_SLUG].strip("-")
        return {"name": f"{slug}-{digest}", **job}
