"""Samples that no client gets."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from covey.federation.apps.settings import Settings, run_config_of
from covey.federation.apps.shares import public_samples, shares
from covey.federation.apps.task import public_images
from covey.federation.data import load
from covey.federation.data_command import app
from covey.federation.partition_picture import draw
from covey.federation.partition_table import partition_table
from covey.platform.errors import UserError

KINDS = [
    {"kind": "iid"},
    {"kind": "dirichlet", "alpha": 0.1},
    {"kind": "classes", "classes_per_client": 3},
    {"kind": "quantity"},
]


@pytest.fixture
def settings_for(parse):
    def read(clients=6, **data):
        job = parse(clients=clients, federated={"data": {"name": "digits", **data}})
        return Settings(**run_config_of(job))

    return read


@pytest.mark.parametrize("partition", KINDS, ids=lambda one: one["kind"])
def test_every_sample_is_one_clients_or_public(settings_for, partition):
    settings = settings_for(partition=partition, public=0.25, held_out=0.2)
    public = public_samples(settings).tolist()
    dealt = np.concatenate([[*part.train, *part.held_out] for part in shares(settings, 6)]).tolist()
    assert sorted(public + dealt) == list(range(1437))
    assert len(public) == round(0.25 * 1437)


def test_they_are_drawn_from_the_jobs_seed(settings_for):
    settings = settings_for(public=0.1)
    first = public_samples(settings).tolist()
    public_samples.cache_clear()
    assert public_samples(settings).tolist() == first
    assert public_samples(replace(settings, partition_seed=6)).tolist() != first
    labels = load("digits").train_labels[first]
    assert len(np.unique(labels)) == 10


def test_with_none_of_them_the_clients_have_what_they_had(settings_for):
    settings = settings_for(partition=KINDS[1])
    assert not len(public_samples(settings))
    sizes = [len(part.train) for part in shares(settings, 6)]
    assert sum(sizes) == 1437 and len(public_images(settings)) == 0


def test_the_servers_images_are_those_samples(settings_for):
    settings = settings_for(public=0.1)
    images = load("digits").train_images[public_samples(settings)]
    assert (public_images(settings).numpy() == images).all()


def test_every_named_client_gives_its_share(settings_for, write_arrays):
    """Of 60, 30, 20 and 10 samples."""
    data = {"name": None, "path": str(write_arrays()), "partition": {"kind": "natural"}}
    settings = settings_for(clients=4, public=0.2, **data)
    assert [len(part.train) for part in shares(settings, 4)] == [48, 24, 16, 8]
    most = settings_for(clients=4, public=0.95, **data)
    assert [len(part.train) for part in shares(most, 4)] == [3, 2, 1, 1]


def test_the_table_tells_of_them_and_counts_nobody_else(parse):
    data = {"name": "digits", "public": 0.1, "held_out": 0.2}
    table = partition_table(parse(clients=4, federated={"data": data}))
    assert table.samples.tolist() == [324, 323, 323, 323]
    assert "1,293 samples of 10 classes" in table.summary()
    assert table.summary().endswith("; 144 more are public")
    assert table.document()["public"] == 144
    assert draw(table).startswith(b"\x89PNG")


def test_the_command_and_the_run_folder_tell_of_them(train, tmp_path):
    run = train("logistic", rounds=1, federated={"data": {"name": "digits", "public": 0.1}})
    assert json.loads((run.path / "partition.json").read_text())["public"] == 144
    assert "144 more are public" in run.said("partition")[0]
    file = tmp_path / "job.yaml"
    file.write_text(
        "name: x\nworkload: federated\nstop: {rounds: 1}\n"
        "federated: {app: mlp, clients: 4, data: {name: digits, public: 0.5}}\n"
    )
    shown = CliRunner().invoke(app, ["split", str(file)], env={"COLUMNS": "160"})
    assert shown.exit_code == 0 and "718 more are public" in shown.stdout


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"public": 1}, "federated.data.public: found 1, allowed is a number >= 0 and < 1"),
        ({"public": 1e-4}, "federated.data.public: found 0.0001, which is no sample of the 1437"),
        (
            {"public": 0.5, "partition": {"min_size": 120}},
            "federated.data.partition.min_size: found 120, but 6 clients with that many need 720 "
            "samples and digits has 719 that are not public",
        ),
    ],
)
def test_what_cannot_be_is_refused(parse, data, told):
    with pytest.raises(UserError) as error:
        parse(federated={"data": {"name": "digits", **data}})
    assert told in str(error.value)


def test_a_share_that_is_none_of_anybodys_samples_is_refused(settings_for, write_arrays):
    owners = np.arange(120) // 2
    data = {
        "name": None,
        "path": str(write_arrays(train_client=owners)),
        "partition": {"kind": "natural"},
    }
    with pytest.raises(UserError, match="which is no sample of any client"):
        shares(settings_for(clients=60, public=0.1, **data), 60)
