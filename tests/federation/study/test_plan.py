"""What is run: parts and how they are narrowed, trials, and their job files."""

import re
from pathlib import Path

import pytest

from covey.federation.study.cells import compare
from covey.federation.study.parts import METHODS, PARTS, Part, Setting, narrowed
from covey.federation.study.plan import RATES, TUNING_SEED, Plan, Trial
from covey.federation.study.progress import Progress
from covey.federation.study.record import Point, Record
from covey.platform.errors import UserError
from covey.platform.jobfile.load import parse_job_file
from covey.platform.jobfile.model import NAME_PATTERN

TABLE = PARTS["table"]


def test_the_table_compares_the_seven_methods_in_five_settings():
    assert [row.label for row in TABLE.rows] == list(METHODS)
    assert len(METHODS) == 7 and len(TABLE.settings) == 5 and TABLE.seeds == 5
    plan = Plan(TABLE)
    runs = dict.fromkeys(METHODS, 0.1)
    by_hand = [
        trial
        for setting in TABLE.settings
        for trial in (*plan.tuning(setting), *plan.runs(setting, runs))
    ]
    assert plan.num_trials == len(by_hand) == 105 + 175
    assert plan.num_rounds == sum(trial.rounds for trial in by_hand)


def test_rates_are_tried_on_a_seed_that_does_not_count_with_half_the_rounds_for_every_row():
    plan = Plan(narrowed(TABLE, ["fedavg", "fedgen"]), rounds=100)
    (setting, *_) = plan.part.settings
    tried = [
        (trial.row.label, trial.seed, trial.rate, trial.rounds) for trial in plan.tuning(setting)
    ]
    assert tried == [
        (label, TUNING_SEED, rate, 50) for label in ("fedavg", "fedgen") for rate in RATES
    ]
    runs = list(plan.runs(setting, {"fedavg": 0.1, "fedgen": 0.01}))
    assert TUNING_SEED not in {trial.seed for trial in runs}
    assert {(trial.row.label, trial.rate) for trial in runs} == {("fedavg", 0.1), ("fedgen", 0.01)}


def test_a_part_is_narrowed():
    def settings(*arguments):
        return [str(setting) for setting in narrowed(TABLE, *arguments).settings]

    assert settings((), ["mnist"]) == ["mnist, alpha 0.05", "mnist, alpha 0.1", "mnist, alpha 10"]
    assert settings((), (), [0.1]) == ["mnist, alpha 0.1", "fashion-mnist, alpha 0.1"]
    assert settings((), ["digits"], [1.0]) == ["digits, alpha 1"]
    assert len(settings((), ["digits"])) == 3
    assert narrowed(TABLE) == TABLE
    assert narrowed(TABLE, seeds=2).seeds == 2
    with pytest.raises(UserError, match=r"--method fedgan: allowed are .*; nearest is fedgen"):
        narrowed(TABLE, ["fedgan"])


def all_trials(plan):
    for setting in plan.part.settings:
        yield from plan.tuning(setting)
        yield from plan.runs(setting, {row.label: 0.1 for row in plan.part.rows})


def test_a_job_has_a_name_of_its_own_in_every_study():
    names = [
        plan.job(trial, study)["name"]
        for study in ("one", "two")
        for part in PARTS.values()
        for plan in (Plan(Part(part.rows, (Setting("fashion-mnist", 0.05),)), app="mlp"),)
        for trial in all_trials(plan)
    ]
    assert all(re.match(NAME_PATTERN, name) for name in names)
    # FedAvg and FedGen as they are stand in two parts: those are the same runs.
    shared = 2 * (len(RATES) + 5)
    assert len(names) - len(set(names)) == 2 * shared


def test_one_rate_is_taken_and_not_tried():
    plan = Plan(narrowed(TABLE, ["fedavg"], ["mnist"], [0.1], 2), rounds=100, rates=(0.02,))
    assert list(plan.tuning(Setting("mnist", 0.1))) == []
    assert (plan.num_trials, plan.num_rounds) == (2, 200)

    class Trials:
        def finish(self, trials):
            return {trial: Record("job", (), 0.0, 0.0) for trial in trials}

    ((cell,),) = list(compare(plan, Trials()))
    assert (cell.rate, sorted(cell.runs)) == (0.02, [1, 2])


def test_rows_of_a_seed_are_dealt_the_same_data():
    plan = Plan(TABLE)
    (setting, *_) = TABLE.settings
    jobs = [plan.job(trial, "") for trial in plan.runs(setting, dict.fromkeys(METHODS, 0.1))]
    for seed in range(1, 6):
        own = [job["federated"] for job in jobs if job["seed"] == seed]
        assert len(own) == 7
        assert all(section["data"] == own[0]["data"] for section in own)
        assert all(section["clients"] == own[0]["clients"] for section in own)


@pytest.mark.parametrize("part", PARTS)
def test_the_jobs_are_right(part):
    plan = Plan(PARTS[part])
    for row in PARTS[part].rows:
        job = plan.job(Trial(row, Setting("mnist", 0.1), 3, 0.03, 100), "x")
        read = parse_job_file(job, Path.cwd())
        assert (read.seed, read.resources.cpus, read.stop.rounds) == (3, 1, 100)
        assert read.section.evaluate_every == 10
        assert read.section.local.learning_rate == 0.03


def test_progress_counts_all_runs_and_tells_the_time_left_by_rounds():
    plan = Plan(narrowed(TABLE, ["fedavg"], ["mnist"], [0.1], 2), rounds=100)
    clock, said = [100.0], []
    progress = Progress(plan, said.append, lambda: clock[0])
    trials = list(all_trials(plan))  # three of 50 rounds, two of 100
    record = Record("job", (Point(10, 1.0, 0.5, 0.5),), 5.0, 7.0)
    progress(trials[0], record, False)
    assert said == []
    clock[0] = 150.0
    progress(trials[1], record, True)  # 50 s for 50 rounds, and 250 to go
    clock[0] = 400.0
    for trial in trials[2:]:
        progress(trial, record, True)
    assert said[0] == (
        "2/5 fedavg, mnist, alpha 0.1, rate 0.03, tuning: accuracy 0.5000 in 7 s; 4 min left"
    )
    assert said[-1] == "5/5 fedavg, mnist, alpha 0.1, rate 0.1, seed 2: accuracy 0.5000 in 7 s"
