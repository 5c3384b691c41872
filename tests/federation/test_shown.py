import json

import pytest

from covey.federation.shown import headline, panels
from covey.federation.workload import WORKLOAD
from covey.platform.cli.progress import describe
from covey.platform.runs.live import METERS
from covey.platform.runs.plots import draw_pictures
from covey.platform.workload import Illustrated, find_workload

ROUND = {
    "wall_s": 1.0,
    "accuracy": 0.5,
    "loss": 1.0,
    "train_loss": 1.1,
    "clients": 4,
    "clients_asked": 5,
    "bytes_up": 1_000_000,
    "bytes_down": 2_000_000,
    **{f"{phase}_s": 0.1 for phase in ("configure", "clients", "aggregate", "evaluate")},
    "round_s": 0.4,
    "rounds_per_s": 2.5,
}


def rounds(count=3, **more):
    return [{"step": 0, "wall_s": 0.0, "accuracy": 0.1}] + [
        {"step": number, **ROUND, **more} for number in range(1, count + 1)
    ]


def titles(job, lines):
    return [panel.title for panel in panels(job, lines)]


def test_what_people_ask_for_comes_first(parse):
    job = parse()
    first = ["accuracy", "accuracy by traffic, up and down", "loss", "clients a round"]
    assert titles(job, rounds()) == [*first, "time a round (s)", "traffic a round (MB)"]
    assert titles(job, rounds(epsilon=3.0))[4:] == ["time a round (s)", "epsilon spent"]
    stale = rounds(train_staleness_mean=0.5, train_staleness_max=2)
    assert titles(job, stale)[5] == "staleness of replies (rounds)"
    assert titles(job, rounds(train_staleness_max=0))[5] == "traffic a round (MB)"
    guided = rounds(generator_accuracy=0.9, generator_spread=0.1)
    assert titles(job, guided)[3:5] == ["latents of the generator", "clients a round"]
    assert [one.y for one in panels(job, guided)[3].series] == [[0.9] * 3, [0.1] * 3]
    assert titles(job, []) == []


def test_an_apps_own_metrics_follow_where_there_is_room(parse):
    lines = [{"step": n, "wall_s": n, "loss": 1 / n, "train_f1": 1 - 0.5 / n} for n in (1, 2, 3)]
    assert titles(parse(), lines) == ["loss", "train f1"]


def test_clients_stand_beside_the_test_set_unless_they_are_all_there_is(parse):
    job = parse(stop={"rounds": 3, "accuracy": 0.9})
    lines = rounds(client_accuracy=0.4, client_accuracy_worst_decile=0.2)
    accuracy = panels(job, lines)[0]
    assert [one.label for one in accuracy.series] == [
        "test set",
        "clients' own data",
        "worst tenth",
    ]
    assert accuracy.goal == 0.9
    alone = panels(job, rounds(client_acc=0.5)[1:])[0]
    assert [one.label for one in alone.series] == ["clients' own data"]


def test_traffic_adds_up_over_rounds_and_directions(parse):
    accuracy = panels(parse(), rounds(3))[1].series[0]
    assert accuracy.x == pytest.approx([0, 3, 6, 9])
    assert accuracy.y == [0.1, 0.5, 0.5, 0.5]


def test_who_was_lost_is_on_top_of_who_trained(parse):
    lines = rounds(2)
    lines[2] |= {"clients": 3, "clients_dropped": 2}
    clients = panels(parse(), lines)[3]
    assert clients.stacked
    assert {one.label: one.y for one in clients.series} == {"trained": [4, 3], "dropped": [0.0, 2]}


def test_a_progress_line_tells_clients_traffic_and_epsilon(parse):
    job = parse(stop={"wall_s": 9}, deterministic=False)
    line = describe(job, 2, {**ROUND, "clients_dropped": 1, "epsilon": 3.25})
    assert line == (
        "2 rounds · accuracy 0.5 · loss 1 · 4 of 5 clients, 1 dropped · 3 MB a round · epsilon 3.25"
    )
    assert headline({"client_accuracy_worst_decile": 0.25}) == ["worst tenth of clients 0.25"]
    assert headline({}) == []


def test_only_federated_runs_have_these(parse):
    assert isinstance(WORKLOAD, Illustrated)
    assert not isinstance(find_workload("rl"), Illustrated)
    assert not {panel.title for panel in panels(parse(), rounds())} & set(METERS)


def test_a_run_folder_has_the_table_of_its_rounds_and_a_map_of_it(train):
    section = {
        "cohort": 4,
        "data": {"name": "digits", "held_out": 0.2},
        "evaluate_clients": "all",
        "faults": {"dropout": 0.3},
    }
    run = train("logistic", clients=8, rounds=5, federated=section)
    table = json.loads((run.path / "client_rounds.json").read_text())
    by_client = json.loads((run.path / "clients.json").read_text())
    for fate in ("trained", "dropped"):
        assert [sum(row) for row in table[fate]] == by_client[fate]
    columns = [sum(column) for column in zip(*table["trained"], strict=True)]
    assert columns == [line["clients"] for line in run.metrics[1:]]
    means = [sum(column) / 8e4 for column in zip(*table["accuracy"], strict=True)]
    assert means == pytest.approx([line["client_accuracy"] for line in run.metrics[1:]], abs=1e-4)
    assert all(line["clients_asked"] == 4 for line in run.metrics[1:])
    pictures = draw_pictures(run.path)
    assert [path.name for path in pictures] == ["curves.png", "clients.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
