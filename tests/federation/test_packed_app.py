import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict

from covey.federation.app_folder import imported, read_app_folder
from covey.federation.apps import client_app, seeded_client
from covey.federation.apps.models import make_model
from covey.federation.apps.settings import run_config_of
from covey.federation.client_runner import ClientRunner, Question
from covey.federation.flower_internals import become_server, set_message_id
from covey.federation.packed_app import pack, write_built_in

APP = Path(__file__).parent / "apps" / "selfseeded"


def test_a_bundle_holds_the_app_and_is_always_the_same():
    bundle = pack(APP)
    names = zipfile.ZipFile(BytesIO(bundle)).namelist()
    assert {"pyproject.toml", "selfseeded_app/client_app.py"} <= set(names)
    assert bundle == pack(APP)


def test_a_built_in_app_becomes_a_folder_like_any_other(parse, tmp_path):
    config = run_config_of(parse("mlp"))
    folder = write_built_in("mlp", config, tmp_path)
    app = read_app_folder(folder)
    assert app.configured({}) == config
    with imported(app) as (_, client):
        assert client is seeded_client.app
    assert pack(folder)


def test_clients_of_a_built_in_app_draw_what_they_would_draw_in_a_grid_of_ours(parse):
    become_server()
    job = parse("logistic", clients=3, federated={"local": {"batch_size": 8}})
    config = run_config_of(job)
    arrays = ArrayRecord(make_model("logistic", 64, 10).state_dict())
    content = RecordDict({"arrays": arrays, "config": ConfigRecord({"server-round": 4})})
    message = Message(content, 3, "train")
    set_message_id(message, "1")
    runner = ClientRunner(client_app.app, 3, job.seed, config)
    here = runner.answer(Question(1, message, 4, RecordDict())).content
    context = Context(9, 77, {"partition-id": 1, "num-partitions": 3}, RecordDict(), config)
    there = seeded_client.app(message, context).content
    for name, array in here["arrays"].items():
        assert np.array_equal(array.numpy(), there["arrays"][name].numpy())
        assert not np.array_equal(array.numpy(), arrays[name].numpy())


def test_a_message_of_no_round_is_refused(parse):
    become_server()
    context = Context(1, 2, {"partition-id": 0, "num-partitions": 3}, RecordDict(), {})
    context.run_config = run_config_of(parse("logistic", clients=3))
    with pytest.raises(ValueError, match="server-round"):
        seeded_client.app(Message(RecordDict(), 2, "train"), context)
