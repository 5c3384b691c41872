"""What `covey peer` says to a user's mistakes."""

import json
import os
import socket

import pytest
import typer
import yaml
from local_peers import LocalPeers
from peer_jobs import peer_job

from covey.federation.p2p.peer_command import peer
from covey.federation.p2p.peer_run import digest, open_peer
from covey.platform.errors import UserError
from covey.platform.jobfile.load import parse_job_file
from covey.platform.runs.run import Run


@pytest.fixture
def peers(tmp_path):
    return LocalPeers(tmp_path / "peers", peer_job(peers=2), {})


def change(file, **keys):
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **keys}))


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"method": "choco", "compression": {"kind": "top-k", "fraction": 0.1}}, "method choco"),
        ({"method": "sgp"}, "method sgp cannot bear a lost message"),
        ({"peers": 3}, "the job's peer-2 is not listed"),
        ({"peers": 1, "topology": {"kind": "complete"}}, "peer-1 is none of the job's peers"),
    ],
)
def test_a_job_that_these_peers_cannot_run(peers, section, said):
    peers.job.write_text(yaml.safe_dump(peer_job(**{"peers": 2, **section})))
    with pytest.raises(UserError, match=said):
        peer(peers.config("peer-1"), peers.job)
    assert not peers.run_dir("peer-1").exists()


def test_files_that_are_not_there(peers, tmp_path):
    with pytest.raises(UserError, match=r"nowhere.yaml: No such file"):
        peer(tmp_path / "nowhere.yaml", peers.job)
    with pytest.raises(UserError, match="names no job; write job: FILE there"):
        peer(peers.config("peer-0"))
    change(peers.config("peer-0"), job="../../jo.yaml")
    with pytest.raises(UserError, match=r"jo.yaml:? .*no such file; nearest is job.yaml"):
        peer(peers.config("peer-0"))
    (peers.folder / "peer-0" / "peer.pem").unlink()
    with pytest.raises(UserError, match=r"tls.certificate: no such file"):
        peer(peers.config("peer-0"), peers.job)


def test_a_port_in_use_and_a_folder_of_another_job(peers):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        change(peers.config("peer-0"), listen=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(typer.Exit):
            peer(peers.config("peer-0"), peers.job)
    error = json.loads((peers.run_dir("peer-0") / "result.json").read_text())["error"]
    assert "127.0.0.1" in error and "\n" not in error
    strange = peers.folder / "strange"
    strange.mkdir()
    (strange / "letter.txt").write_text("mine")
    change(peers.config("peer-0"), run_dir=str(strange))
    with pytest.raises(UserError, match="is no run folder"):
        peer(peers.config("peer-0"), peers.job)


def test_a_peer_that_still_runs(peers):
    """It is left alone, but by a newer attempt of the job that it is a part of."""
    open_peer(peers.config("peer-0"), peers.job)
    run = Run.claim(peers.run_dir("peer-0"))
    with pytest.raises(UserError, match=rf"written by process {os.getpid()}: that peer still runs"):
        peer(peers.config("peer-0"), peers.job)
    open_peer(peers.config("peer-0"), peers.job, supersede=True)
    run.finish("stopped", {})
    open_peer(peers.config("peer-0"), peers.job)


def test_jobs_are_told_apart_by_what_peers_must_share(tmp_path):
    def of(**keys):
        return digest(parse_job_file(peer_job(**keys), tmp_path))

    assert of() == of(rounds=9) == of(evaluate_every=2) != of(weights="uniform")
    assert of() != of(job={"seed": 6})
