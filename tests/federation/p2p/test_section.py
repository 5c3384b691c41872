"""The `peer-to-peer:` section: its defaults, and what must hold between its keys."""

from pathlib import Path

import pytest

from covey.platform.errors import JobFileError
from covey.platform.jobfile.load import dump_job_file, load_job_file

TOP_K = {"kind": "top-k", "fraction": 0.1}


def test_defaults_are_those_of_p2pl(parse):
    section = parse().section
    assert (section.method, section.engine, section.topology.kind) == ("p2pl", "batched", "ring")
    assert (section.weights, section.start, section.precision) == (
        "data-size",
        "max-norm",
        "float32",
    )
    assert (section.local.momentum, section.evaluate_samples) == (0, 1000)


@pytest.mark.parametrize(
    ("method", "more", "weights"),
    [
        ("d-psgd", {}, "metropolis"),
        ("atc", {"weights": "uniform"}, "uniform"),
        ("gossip", {}, None),
        ("sgp", {"topology": {"kind": "one-peer-exponential"}}, None),
        ("choco", {"compression": TOP_K}, "metropolis"),
        ("choco", {"compression": TOP_K, "weights": "max-degree"}, "max-degree"),
        ("p2pl", {"topology": {"kind": "directed-exponential"}}, "data-size"),
    ],
)
def test_weights_of_a_method(parse, method, more, weights):
    section = parse(method=method, **more).section
    assert section.weights == weights
    assert section.start == ("max-norm" if method == "p2pl" else "common")


@pytest.mark.parametrize(
    ("compression", "gamma"),
    [
        (TOP_K, 0.4),
        ({"kind": "top-k", "fraction": 0.5}, 1.0),
        ({"kind": "random-k", "fraction": 0.1}, 0.1),
        ({"kind": "quantised", "bits": 4}, 0.34),
    ],
)
def test_the_step_of_choco_follows_its_compression(parse, compression, gamma):
    assert parse(method="choco", compression=compression).section.gamma == pytest.approx(gamma)
    given = parse(method="choco", compression=compression, gamma=0.07).section
    assert given.gamma == 0.07


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"engine": "grpc", "job": {"deterministic": True}}, "engine: grpc is not deterministic"),
        (
            {"engine": "grpc", "method": "sgp"},
            "peer-to-peer.engine: method sgp cannot bear a lost message",
        ),
        ({"app": "mpl"}, "peer-to-peer.app: found 'mpl', allowed is logistic, mlp"),
        ({"hidden": 3}, "peer-to-peer.hidden: is for app mlp, and app is logistic"),
        ({"method": "gossipp"}, "peer-to-peer.method: found 'gossipp'"),
        ({"method": "atc", "affinity": 0.5}, "peer-to-peer.affinity: is for method p2pl"),
        ({"method": "atc", "consensus": {"steps": 2}}, "peer-to-peer.consensus: is for method"),
        ({"compression": TOP_K}, "peer-to-peer.compression: is for method choco"),
        ({"gamma": 0.5}, "peer-to-peer.gamma: is for method choco"),
        ({"method": "choco"}, "peer-to-peer.compression: is missing"),
        (
            {"method": "choco", "compression": TOP_K, "weights": "uniform"},
            "peer-to-peer.weights: method choco needs symmetric ones",
        ),
        (
            {"method": "choco", "compression": TOP_K, "topology": {"up": 0.5}},
            "peer-to-peer.topology.up: method choco needs the same links",
        ),
        (
            {"method": "gossip", "topology": {"kind": "directed-exponential"}},
            "peer-to-peer.topology.kind: method gossip needs undirected links",
        ),
        (
            {"method": "atc", "topology": {"kind": "one-peer-exponential"}},
            "peer-to-peer.weights: metropolis needs undirected links",
        ),
        ({"method": "sgp", "weights": "uniform"}, "peer-to-peer.weights: method sgp has"),
        (
            {"method": "sgp", "robust": {"kind": "trimmed-mean"}},
            "peer-to-peer.robust: is for p2pl, d-psgd, atc",
        ),
        (
            {"affinity": 0.5, "robust": {"kind": "trimmed-mean"}},
            "peer-to-peer.affinity: trusts what neighbours send",
        ),
        (
            {"local": {"steps": 2, "epochs": 2}},
            "peer-to-peer.local.steps: cannot stand beside epochs",
        ),
        ({"local": {"momentum": 1}}, "peer-to-peer.local.momentum: found 1"),
        (
            {"data": {"name": "digits", "held_out": 0.1}},
            "peer-to-peer.data.held_out: is for federated jobs",
        ),
        (
            {"data": {"name": "digits", "partition": {"kind": "iid", "alpha": 2}}},
            "peer-to-peer.data.partition.alpha: is for",
        ),
        (
            {"data": {"name": "digits", "partition": {"min_size": 500}}},
            "peer-to-peer.data.partition.min_size: found 500, but 6 peers",
        ),
        ({"topology": {"kind": "rign"}}, "nearest is ring"),
        ({"topology": {"p": 0.2}}, "peer-to-peer.topology.p: is for erdos-renyi"),
    ],
)
def test_what_cannot_be_is_one_line(parse, keys, said):
    with pytest.raises(JobFileError) as caught:
        parse(**keys)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_directed_file_is_found_out(parse, tmp_path: Path):
    (tmp_path / "graph.json").write_text('{"edges": [[0, 1]], "directed": true}')
    with pytest.raises(JobFileError, match="method gossip needs undirected links"):
        parse(method="gossip", topology={"kind": "file", "path": "graph.json"})


def test_a_resolved_job_loads_back_equal(parse, tmp_path: Path):
    cut = {"groups": [[0, 1], [2, 3]], "from": 2, "until": 4}
    job = parse(
        topology={"kind": "erdos-renyi", "redraw_every": 2, "up": 0.5, "cut": cut},
        robust={"kind": "self-centred-clipping"},
        consensus={"steps": 2, "damping": 0.5},
    )
    (tmp_path / "job.yaml").write_text(dump_job_file(job))
    assert load_job_file(tmp_path / "job.yaml") == job
