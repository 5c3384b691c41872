"""Who begins when there are fewer cores than coded workers."""

from math import inf

import pytest

from covey.platform.coding import make_code
from covey.platform.coding.turns import PATIENCE, Turns

CODE = make_code("mds", workers=7, tasks=4)  # 0 to 3 have a task each, 4 to 6 all four


def test_until_it_is_known_what_a_task_takes_all_begin_at_once():
    turns = Turns(CODE, 2, None)
    assert turns.begin(0.0) == list(range(7))
    assert turns.due(9.0) == [] and turns.next_s(9.0) == inf


def test_with_a_core_for_each_all_begin_at_once():
    assert Turns(CODE, 7, 1.0).begin(5.0) == list(range(7))


def test_a_worker_with_more_tasks_begins_when_a_core_is_free():
    turns = Turns(CODE, 2, 1.0)
    assert turns.begin(0.0) == [0, 1, 2, 3]
    for worker in (2, 0):
        turns.answered(worker)
        assert turns.due(1.5) == []  # two are at work still
    turns.answered(1)
    assert turns.due(2.0) == [4]
    assert turns.due(2.1) == []
    turns.answered(3)
    assert turns.due(2.2) == [5]
    turns.answered(4)
    assert turns.due(6.0) == [6] and turns.next_s(6.0) == inf


def test_who_is_late_is_not_waited_for():
    turns = Turns(CODE, 2, 1.0)
    turns.begin(10.0)
    late_s = turns.next_s(10.0)
    assert late_s == pytest.approx(10 + PATIENCE * 2)  # four tasks on two cores
    assert turns.due(late_s - 0.01) == []
    assert turns.due(late_s) == [4, 5]
    assert turns.next_s(late_s) == pytest.approx(late_s + PATIENCE * 4)
    assert turns.due(late_s + PATIENCE * 4) == [6]


def test_an_answer_that_comes_late_changes_nothing():
    turns = Turns(CODE, 1, 1.0)
    turns.begin(0.0)
    assert turns.due(PATIENCE * 4) == [4]
    turns.answered(0)
    assert turns.due(PATIENCE * 4) == []
    turns.answered(4)
    assert turns.due(PATIENCE * 4) == [5]


def test_codes_whose_workers_have_alike_much_to_do_begin_at_once():
    for code in (
        make_code("mds-dense", workers=7, tasks=4),
        make_code("uncoded", workers=4, tasks=4),
    ):
        assert Turns(code, 1, 1.0).begin(0.0) == list(range(code.workers))
