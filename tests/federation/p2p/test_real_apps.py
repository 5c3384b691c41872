"""App folders whose peers are processes: `covey peer`, and jobs of engine `grpc`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from local_peers import LocalPeers
from peer_jobs import peer_job
from small_apps import DESCENDS, FAILS_AT_ONE, small_app

from covey.federation.p2p.learners import MODEL, OWN
from covey.federation.p2p.peer_run import digest, facts_of, open_peer, run_peer
from covey.platform.driver import run_attempt
from covey.platform.errors import JobFileError
from covey.platform.exit_status import ExitStatus
from covey.platform.jobfile.load import parse_job_file
from covey.platform.runs.folder import RunFolder

APPS = Path(__file__).parents[1] / "apps"
UNSTEADY = {"topology": {"kind": "ring", "up": 0.7}, "consensus": {"steps": 2, "damping": 0.8}}


def app(path, **more):
    return {"app": str(path), "data": None, "local": None, "peers": 4, **more}


def arrays(path, part=MODEL):
    return RunFolder.open(path).newest_checkpoint().arrays(part)


def end_all(peers):
    for name in peers.names:
        status, said = peers.end(name)
        assert status == ExitStatus.SUCCEEDED, said
        assert not peers.said(name, "peer_down")


def agree(peers, together):
    """With the run folder of a batched run, peer by peer."""
    for number, name in enumerate(peers.names):
        alone = arrays(peers.run_dir(name))
        for key, values in arrays(together).items():
            np.testing.assert_allclose(alone[key][0], values[number], rtol=0, atol=1e-4)
        for key, values in arrays(together, OWN).items():
            np.testing.assert_array_equal(arrays(peers.run_dir(name), OWN)[key][0], values[number])


@pytest.mark.slow
def test_peers_of_an_app_agree_with_the_batched_engine(peers_of, train, tmp_path):
    """Weighed by samples that only each peer's own app can tell, other ones in each round."""
    keys = app(small_app(tmp_path, DESCENDS), rounds=6, **UNSTEADY)
    together = train(**keys)
    peers = peers_of(**keys)
    peers.start()
    end_all(peers)
    agree(peers, together.path)
    assert json.loads((together.path / "peers.json").read_text())["samples"] == [16, 26, 36, 46]
    assert [line["samples"] for line in peers.lines("peer-2")] == [1, 31, 32, 33, 34, 35, 36]
    # A vector, a number of samples, a header.
    line = peers.lines("peer-0")[-1]
    assert 0 < line["bytes_per_peer"] - line["messages_per_peer"] * (400 * 4 + 8) < 2000


@pytest.mark.slow
@pytest.mark.parametrize("method", [{}, {"method": "d-psgd", "weights": "data-size"}])
def test_peers_of_an_app_go_on_from_their_checkpoints(peers_of, train, tmp_path, method):
    keys = app(small_app(tmp_path, DESCENDS), **method)
    together = train(rounds=4, **keys)
    peers = peers_of(rounds=2, **keys)
    peers.start()
    end_all(peers)
    text = peers.job.read_text()
    peers.job.write_text(text.replace("rounds: 2", "rounds: 4"))
    peers.start()
    end_all(peers)
    assert all(peers.said(name, "restored") for name in peers.names)
    agree(peers, together.path)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("name", ["pure", "quickstart"])
def test_a_job_with_a_stock_app_has_the_figures_of_the_batched_engine(start_job, train, name):
    """Measured by its clients (pure) and by its ServerApp (quickstart)."""
    keys = app(APPS / name, rounds=4)
    job = start_job(**keys)
    batched, real = train(**keys), job.end()
    for column in ("accuracy", "accuracy_min", "accuracy_local", "train_loss"):
        np.testing.assert_allclose(real.column(column), batched.column(column), atol=0.01)
    samples = [
        json.loads((run.path / "peers.json").read_text())["samples"] for run in (real, batched)
    ]
    assert samples[0] == samples[1]
    for part in (MODEL, OWN) if name == "quickstart" else (MODEL,):
        found = arrays(real.path, part)
        assert found.keys() == arrays(batched.path, part).keys()
        for key, values in arrays(batched.path, part).items():
            np.testing.assert_allclose(found[key], values, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.ray
def test_a_job_whose_app_fails_at_one_peer_goes_on_and_at_all_ends(start_job, tmp_path):
    one = start_job(
        **app(small_app(tmp_path / "one", FAILS_AT_ONE.replace("SIZE", "3")), rounds=3)
    ).end()
    assert "peer-1: round 1: the ClientApp failed" in one.said("peer_failed")
    assert one.metrics[-1]["peers"] == 3 and one.metrics[-1]["step"] == 3
    job = start_job(**app(small_app(tmp_path / "all", FAILS_AT_ONE.replace("SIZE", "4"))))
    said, _ = job.process.communicate(timeout=900)
    assert job.process.returncode == ExitStatus.USER_MISTAKE
    assert b"all peers have failed, peer-" in said and b"Traceback" not in said


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (FAILS_AT_ONE.replace("SIZE", "3").replace("== 1", "== 0"), "no disk"),
        (FAILS_AT_ONE.replace("SIZE", "4"), r"its reply has w of shape \(4,\)"),
        (FAILS_AT_ONE.replace("SIZE", "3").replace('"w"', '"v"'), "has other arrays"),
        (FAILS_AT_ONE.replace("SIZE", "3").replace(": 5", ": -5"), "tells of -5.0 samples"),
        (
            "\nserver = ServerApp()\n@server.main()\ndef main(grid, context):\n    pass\n",
            "never called",
        ),
        (
            FAILS_AT_ONE.replace("SIZE, number", "3, np.nan"),
            "no longer finite numbers; lower the app's learning rate",
        ),
        ("\nserver = None\n", "is no ServerApp of Flower"),
        ("\n1 / 0\n", "division by zero"),
    ],
)
def test_what_an_app_does_wrong_ends_its_peer_with_a_line(tmp_path, source, said):
    keys = app(small_app(tmp_path, source), topology={"kind": "complete"})
    peers = LocalPeers(tmp_path / "peers", peer_job(**{**keys, "peers": 1}), {})
    loaded, _ = open_peer(peers.config("peer-0"), peers.job)
    end = run_attempt(Path(loaded.run_dir), work=lambda run: run_peer(run, loaded))
    assert end.error is not None and "\n" not in end.error
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(end.error)


def test_clipping_believes_nobody_how_many_samples_it_has(parse, tmp_path):
    keys = app(small_app(tmp_path, DESCENDS), robust={"kind": "self-centred-clipping"})
    parse(**keys)
    parse(engine="grpc", weights="uniform", **keys)
    with pytest.raises(JobFileError, match=r"peer-to-peer\.engine: self-centred-clipping bears"):
        parse(engine="grpc", **keys)
    parse(engine="grpc", robust={"kind": "self-centred-clipping"})


def test_an_app_is_the_same_wherever_it_lies(tmp_path):
    path = small_app(tmp_path, DESCENDS)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(path, elsewhere)
    (elsewhere / "data.csv").write_text("of this machine")

    def job(**keys):
        return parse_job_file(peer_job(**app(**keys)), tmp_path)

    mine = facts_of(job(path=path))
    assert mine == facts_of(job(path=elsewhere)) != facts_of(job(path=APPS / "pure"))
    assert digest(job(path=path)) != digest(job(path=path, weights="uniform"))
    config = {"run_config": {"local-epochs": 1}}
    assert digest(job(path=APPS / "pure")) != digest(job(path=APPS / "pure", **config))
    code = elsewhere / "small_app" / "apps.py"
    code.write_text(code.read_text().replace("0.3", "0.2"))
    assert facts_of(job(path=elsewhere)) == {**mine, "app": facts_of(job(path=elsewhere))["app"]}
    assert facts_of(job(path=elsewhere)) != mine


@pytest.mark.slow
def test_both_sides_are_told_of_different_code(peers_of, tmp_path):
    keys = {"peers": 2, "topology": {"kind": "ring"}}
    path = small_app(tmp_path, DESCENDS)
    peers = peers_of({"wait_s": 200}, **{**app(path), **keys})
    peers.start("peer-0")
    other = small_app(tmp_path / "other", DESCENDS.replace("0.3", "0.2"))
    peers.job = peers.folder.with_name("other.yaml")
    peers.job.write_text(yaml.safe_dump(peer_job(**{**app(other), **keys})))
    peers.start("peer-1")
    for name, neighbour in [("peer-0", "peer-1"), ("peer-1", "peer-0")]:
        status, said = peers.end(name)
        assert status == ExitStatus.USER_MISTAKE
        assert f"{neighbour} has other code than this" in said
