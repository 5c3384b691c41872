import json

import numpy as np
import pytest
from flwr.app import Error, Message, MetricRecord, RecordDict

from covey.federation.client_rounds import MOST_COLUMNS, MOST_ROWS, ClientRounds
from covey.federation.flower_internals import become_server, reply_to


def answer(error: Error | None = None, **metrics) -> Message:
    become_server()
    message = Message(RecordDict(), dst_node_id=2, message_type="evaluate")
    return reply_to(message, error or RecordDict({"metrics": MetricRecord(metrics)}))


def test_each_client_has_a_row_and_each_round_a_column():
    rounds = ClientRounds()
    rounds.admit([2, 3, 4])
    rounds.begin(1)
    rounds.answered(2, "trained")
    rounds.answered(4, "dropped")
    rounds.begin(2)
    rounds.answered(3, "trained")
    rounds.measured(3, answer(accuracy=0.75))
    assert rounds.table() == {
        "clients": 3,
        "clients_a_row": 1,
        "rounds": 2,
        "rounds_a_column": 1,
        "trained": [[1, 0], [0, 1], [0, 0]],
        "dropped": [[0, 0], [0, 0], [1, 0]],
        "measured": [[0, 0], [0, 1], [0, 0]],
        "accuracy": [[0, 0], [0, 7500], [0, 0]],
    }


def test_a_round_that_came_to_nothing_leaves_no_trace():
    rounds = ClientRounds()
    rounds.admit([2])
    rounds.begin(1)
    rounds.answered(2, "trained")
    before = rounds.encode()
    rounds.begin(MOST_COLUMNS + 1)
    assert rounds.encode() == before


@pytest.mark.parametrize("clients", [MOST_ROWS, MOST_ROWS + 1, 100_000])
def test_the_table_is_bounded_and_nothing_is_lost(clients):
    chance = np.random.default_rng(0)
    rounds, nodes = ClientRounds(), range(2, clients + 2)
    rounds.admit(nodes)
    numbers = range(1, 5 * MOST_COLUMNS, 3)
    for number in numbers:
        rounds.begin(number)
        for node in (nodes[0], nodes[-1], *chance.integers(2, clients + 2, 5).tolist()):
            rounds.answered(node, "trained")
    table = rounds.table()
    cells = np.array(table["trained"])
    assert cells.shape[0] <= MOST_ROWS and cells.shape[1] <= MOST_COLUMNS
    assert cells.shape[0] * table["clients_a_row"] >= clients
    assert cells.shape[1] * table["rounds_a_column"] >= table["rounds"] == numbers[-1]
    assert cells.sum() == 7 * len(numbers)
    assert min(cells[0].sum(), cells[-1].sum()) >= len(numbers)


def test_a_restored_one_goes_on_as_if_nothing_had_happened():
    def play(rounds: ClientRounds, begin: int, end: int) -> None:
        for number in range(begin, end):
            rounds.begin(number)
            rounds.answered(2 + number % 300, "refused" if number % 7 == 0 else "trained")
            rounds.measured(2 + number % 11, answer(acc=1 / number))

    whole, first, second = ClientRounds(), ClientRounds(), ClientRounds()
    for rounds in (whole, first, second):
        rounds.admit(range(2, 302))
    play(whole, 1, 900)
    play(first, 1, 333)
    second.restore(first.encode())
    play(second, 333, 900)
    assert second.encode() == whole.encode()
    assert json.loads(whole.encode())["rounds_a_column"] == 8


@pytest.mark.parametrize(
    "said",
    [
        {"accuracy": float("nan")},
        {"accuracy": 1e300},
        {"accuracy": -0.5},
        {"accuracy": [0.5, 0.5]},
        {"accuracy": 0.0, "num-examples": 0},
        {"loss": 0.5},
        {"error": Error(0, "ill")},
    ],
)
def test_what_is_no_measurement_is_passed_over(said):
    rounds = ClientRounds()
    rounds.admit([2])
    rounds.begin(1)
    rounds.measured(2, answer(**said))
    assert "measured" not in rounds.table()


def test_nodes_of_a_real_superlink_are_told_apart():
    rounds, nodes = ClientRounds(), [2**64 - 1, 2**63 + 5, 17]
    rounds.admit(nodes)
    rounds.begin(1)
    rounds.answered(2**63 + 5, "trained")
    rounds.answered(2**64 - 1, "failed")
    assert rounds.table()["trained"] == [[0], [1], [0]]
    assert rounds.table()["failed"] == [[0], [0], [1]]
