import json
import struct
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from covey.federation.data import load
from covey.federation.data_command import app
from covey.federation.partition_picture import draw, shown_order
from covey.federation.partition_table import PartitionTable, partition_table

APPS = Path(__file__).parent / "apps"


def table(counts, kind="dirichlet", held_out=None, ids=()):
    counts = np.array(counts)
    held = np.zeros(len(counts), int) if held_out is None else np.array(held_out)
    return PartitionTable(kind, "", "digits", counts, held, ids)


def test_the_summary_tells_sizes_and_classes_in_one_line():
    assert table([[1, 0, 0], [0, 20, 2000], [5, 5, 0]]).summary() == (
        "2,031 samples of 3 classes, dealt to 3 clients (dirichlet): 1 / 10 / 2,020 samples a "
        "client, 1 / 2 / 2 classes a client (smallest, median, largest)"
    )


def test_a_table_counts_every_sample_once_under_its_client(write_arrays, parse):
    path = write_arrays()
    data = {"path": str(path), "held_out": 0.5, "partition": {"kind": "natural"}}
    found = partition_table(parse(clients=4, federated={"data": data}))
    assert found.ids == ("ann", "bob", "cy", "di")
    assert found.counts.tolist() == [[20, 20, 20], [10, 10, 10], [7, 7, 6], [3, 3, 4]]
    assert found.held_out.tolist() == [30, 15, 10, 5]
    assert found.document()["clients"][3] == {
        "client": 3, "id": "di", "samples": 10, "held_out": 5, "by_class": [3, 3, 4]
    }  # fmt: skip


def test_many_clients_are_drawn_in_an_order_that_shows_something():
    generator = np.random.default_rng(0)
    sizes = generator.integers(10, 100, 40)
    assert shown_order(table(np.stack([sizes, sizes], 1), "quantity")).tolist() == sorted(
        range(40), key=lambda client: -sizes[client]
    )
    main = generator.integers(0, 5, 40)
    order = shown_order(table(np.eye(5, dtype=int)[main] * 9 + 1))
    assert (np.diff(main[order]) >= 0).all() and sorted(order) == list(range(40))
    assert shown_order(table(np.eye(5, dtype=int))).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("clients", "classes"), [(1, 2), (10, 10), (1000, 100)])
def test_few_and_many_clients_are_a_picture(clients, classes):
    counts = np.random.default_rng(1).integers(0, 9, (clients, classes))
    picture = draw(table(counts, held_out=counts.sum(1) // 5))
    assert picture.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", picture[16:24])
    assert 800 <= width <= 1700 and 400 <= height <= 1100


def test_a_run_begins_with_who_got_what(train, monkeypatch):
    pictures = []
    monkeypatch.setattr(
        "covey.federation.partition_report.draw", lambda table: pictures.append(table) or b"drawn"
    )
    data = {"name": "digits", "partition": {"kind": "classes", "classes_per_client": 3}}
    run = train("logistic", clients=5, rounds=1, federated={"data": data})
    told = json.loads((run.path / "partition.json").read_text())
    assert [sum(count > 0 for count in row["by_class"]) for row in told["clients"]] == [3] * 5
    by_class = np.sum([row["by_class"] for row in told["clients"]], 0)
    assert by_class.tolist() == np.bincount(load("digits").train_labels).tolist()
    assert (run.path / "partition.png").read_bytes() == b"drawn"
    assert run.said("partition") == [pictures[0].summary()]
    assert "(classes, 3 a client)" in pictures[0].summary()


def split(*words):
    return CliRunner().invoke(app, ["split", *words], env={"COLUMNS": "160"})


@pytest.fixture
def job_file(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text(
        "name: x\nworkload: federated\nstop: {rounds: 1}\n"
        "federated: {app: mlp, clients: 4, data: {name: digits}}\n"
    )
    return str(file)


def test_the_command_prints_the_table_without_training(job_file, tmp_path):
    png = tmp_path / "who.png"
    shown = split(job_file, "--png", str(png))
    assert shown.exit_code == 0
    assert "1,437 samples of 10 classes, dealt to 4 clients (iid)" in shown.stdout
    assert [line.split()[1] for line in shown.stdout.splitlines() if line[1:2].isdigit()][-4:] == [
        "360", "359", "359", "359"
    ]  # fmt: skip
    assert png.read_bytes().startswith(b"\x89PNG")
    told = json.loads(split(job_file, "--json", "--set", "federated.clients=70").stdout)
    assert len(told["clients"]) == 70 and told["samples_a_client"]["largest"] == 21
    assert "the first 50 of 70 clients" in split(job_file, "--set", "federated.clients=70").output


def test_peers_get_their_samples_too(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text(
        "name: x\nworkload: peer-to-peer\nstop: {rounds: 1}\n"
        "peer-to-peer: {app: mlp, peers: 4, data: {name: digits}}\n"
    )
    told = json.loads(split(str(file), "--json").stdout)
    assert [one["samples"] for one in told["clients"]] == [360, 359, 359, 359]


def test_the_commands_mistakes_are_one_clear_line(job_file, tmp_path):
    assert "cannot be written" in str(split(job_file, "--png", f"{tmp_path}/no/x.png").exception)
    app_folder = split(job_file, "--set", f"federated.app={APPS / 'memory'}", "--set",
                       "federated.data=null")  # fmt: skip
    assert "no federated job with a built-in app" in str(app_folder.exception)
    one = split(
        job_file, "--set", "federated.data.partition={kind: classes, classes_per_client: 1}"
    )
    assert "too few for 4 clients to have all 10 classes" in str(one.exception)
