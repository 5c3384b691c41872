"""Jobs whose app folder names its local training, and names that lead nowhere."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from flwr.clientapp import ClientApp
from safetensors.numpy import load as load_arrays

from covey.federation.app_folder import read_app_folder
from covey.federation.compression import top_k_mod
from covey.federation.engines import why_not_batched
from covey.federation.local_client import client_app
from covey.platform.driver import run_attempt
from covey.platform.errors import KeyProblem
from covey.platform.exit_status import ExitStatus

PURE = Path(__file__).parent / "apps" / "pure"


@pytest.mark.parametrize("mu", [0.0, 0.5], ids=["fedavg", "fedprox"])
def test_a_job_gives_the_same_together_as_in_turn(train, mu):
    """Four clients of 60 to 135 samples, with momentum."""
    config = {"run_config": {"proximal-mu": mu}}
    alone = train("pure", clients=4, rounds=10, federated=config)
    together = train("pure", clients=4, rounds=10, federated={**config, "engine": "cohort"})
    assert not together.said("engine")
    ours, theirs = load_arrays(together.model), load_arrays(alone.model)
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=0, atol=1e-4)
    for one, other in zip(together.metrics, alone.metrics, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
    assert together.metrics[-1]["client_acc"] > 0.9


@pytest.fixture
def edited(tmp_path):
    """The pure app with another line in the place of its `cohort = ...`."""

    def edit(line):
        folder = shutil.copytree(PURE, tmp_path / "edited")
        file = folder / "pyproject.toml"
        file.write_text(file.read_text().replace('cohort = "pure_app.task:local"', line))
        return folder

    return edit


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('cohort = "pure_app.task:locale"', "does not exist"),
        ('cohort = "pure_app.tusk:local"', "there is no module pure_app.tusk"),
        ('cohort = "pure_app.task:Local"', r"is a class; name an object: local = Local\(\)"),
        ('cohort = "pure_app.task:net"', "has no method minibatches"),
    ],
)
def test_a_name_that_leads_nowhere_ends_the_job_with_one_line(create, edited, line, problem):
    path = create(str(edited(line)), clients=4, federated={"engine": "cohort"})
    outcome = run_attempt(path)
    assert outcome.exit_status == ExitStatus.USER_MISTAKE
    assert re.search(problem, outcome.error) and "\n" not in outcome.error


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('cohort = "pure_app"', 'must be like "package.module:object"'),
        ("cohort = 3", 'must be like "package.module:object"'),
        ('cohorts = "pure_app.task:local"', r"unknown key cohorts in \[tool.covey\]"),
    ],
)
def test_what_is_no_name_is_refused_when_the_job_file_is_read(edited, line, problem):
    with pytest.raises(KeyProblem, match=problem):
        read_app_folder(edited(line))


NOTHING = SimpleNamespace(minibatches=None, step=None)


def test_an_app_whose_client_app_has_mods_is_not_batched(parse):
    section = parse(str(PURE), federated={"engine": "cohort"}).federated
    assert why_not_batched(section) is None
    assert why_not_batched(section, client_app(NOTHING)) is None
    around_all = client_app(NOTHING, mods=[top_k_mod(0.5)])
    around_train = ClientApp()
    around_train.train(mods=[top_k_mod(0.5)])(lambda message, context: message)
    for app in (around_all, around_train):
        assert "has mods" in why_not_batched(section, app)


@pytest.mark.ray
def test_it_runs_in_actors_and_says_so(train, create, tmp_path):
    folder = shutil.copytree(PURE, tmp_path / "modded")
    module = folder / "pure_app" / "client_app.py"
    source = module.read_text().replace(
        "client_app(local)", "client_app(local, [message_size_mod])"
    )
    module.write_text("from flwr.clientapp.mod import message_size_mod\n" + source)
    path = create(str(folder), clients=4, rounds=1, federated={"engine": "cohort"})
    script = "import sys; from pathlib import Path; from covey.platform.driver import run_attempt;"
    script += "sys.exit(run_attempt(Path(sys.argv[1])).exit_status)"
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    events = (path / "events.jsonl").read_text()
    assert f"clients run in actors: the ClientApp of {folder} has mods" in events
    model = (path / "checkpoints" / "latest" / "model.safetensors").read_bytes()
    theirs = load_arrays(train("pure", clients=4, rounds=1).model)
    for name, array in load_arrays(model).items():
        assert np.array_equal(array, theirs[name])
