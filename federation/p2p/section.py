"""The `peer-to-peer:` section of a job file, and what must hold between its keys."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from covey.federation.app_folder import ConfigValue, read_app_folder
from covey.federation.catalogue import DATA_SETS
from covey.federation.compression_section import Quantised, TopK
from covey.federation.data_section import DataSection, resolve_data
from covey.federation.p2p.engine_section import why_not_real
from covey.federation.p2p.parts_section import (
    ClippingSection,
    ConsensusSection,
    PeerLocalSection,
    RandomK,
    TrimmedMeanSection,
)
from covey.federation.p2p.topology_section import (
    DIRECTED,
    TopologySection,
    WeightKind,
    resolve_topology,
)
from covey.federation.section import BUILT_IN_APPS, ViewerSection, folder_of_app
from covey.platform.errors import KeyProblem
from covey.platform.jobfile.model import Count, Positive, Section

NAME = "peer-to-peer"
WEIGHTS: dict[str, WeightKind | None] = {
    "p2pl": "data-size",
    "d-psgd": "metropolis",
    "atc": "metropolis",
    "gossip": None,
    "sgp": None,
    "choco": "metropolis",
}
"""By method: the weights where a job names none; None where the method has its own."""
SYMMETRIC = ("metropolis", "max-degree")
ROBUST = ("p2pl", "d-psgd", "atc")


class PeerSection(Section):
    """A peer-to-peer job: peers that train on their own samples and talk to neighbours only."""

    method: Literal["p2pl", "d-psgd", "atc", "gossip", "sgp", "choco"] = "p2pl"
    """p2pl: local steps, then consensus (arXiv 2310.18861). d-psgd: steps beside the mixing (Lian
    et al. 2017). atc: adapt, then combine. gossip: pairs meet and take their mean. sgp: stochastic
    gradient push, for directed and changing links (Assran et al. 2019). choco: compressed messages
    (Koloskova et al. 2019).
    """
    engine: Literal["batched", "grpc"] = "batched"
    """batched: all peers in this process, as one program. grpc: a Ray actor for each, which speak
    over the network.
    """
    peers: Count
    topology: TopologySection = TopologySection()
    weights: WeightKind | None = None
    """What a peer's neighbours count for: as much as they have samples; all the same; by the
    greater degree of the two; by the greatest degree of all. data-size for p2pl, metropolis for the
    others if left out; gossip and sgp have weights of their own.
    """
    start: Literal["max-norm", "common", "independent"] | None = None
    """Where peers begin. independent: each draws weights of its own. max-norm: then they agree on
    those with the greatest norm, before round 1 and with all links up. common: all draw the same
    from the job's seed. max-norm for p2pl, common for the others if left out.
    """
    consensus: ConsensusSection | None = None
    """Only for p2pl."""
    affinity: Positive | None = None
    """Only for p2pl: how much a round's local steps, all together, lean to where neighbours were
    before the last consensus (arXiv 2312.13602). It costs no message.
    """
    compression: Annotated[TopK | RandomK | Quantised, Field(discriminator="kind")] | None = None
    """Only for choco, which needs it."""
    gamma: Annotated[float, Field(gt=0, le=1)] | None = None
    """Only for choco: the size of its consensus step. If left out 4 times the fraction of top-k,
    the fraction of random-k, and 0.34 with quantised: near what its authors' code has.
    """
    robust: Annotated[TrimmedMeanSection | ClippingSection, Field(discriminator="kind")] | None = (
        None
    )
    """Only for p2pl, d-psgd and atc: mixing that bears some neighbours who send what they like."""
    app: str
    """logistic, mlp, cnn, strided-cnn, or the folder of a Flower app (with a pyproject.toml),
    relative to the job file: its ClientApp trains each peer, and its ServerApp says with which
    weights they begin.
    """
    hidden: Count | None = None
    """Only for mlp: hidden units, 128 if left out."""
    data: DataSection | None = None
    """Built-in apps need it; an app folder brings its own."""
    local: PeerLocalSection | None = None
    """Built-in apps only."""
    evaluate_every: Count = 1
    """Rounds between evaluations of all peers; the last round is always evaluated."""
    evaluate_samples: Count = 1000
    """Test samples they are measured on, drawn once; all if there are not so many. Built-in apps
    only: an app folder measures in its own code.
    """
    precision: Literal["float32", "float64"] = "float32"
    viewer: ViewerSection = ViewerSection()
    run_config: dict[str, ConfigValue] = Field(default_factory=dict)
    """App folders only: values for keys of [tool.flwr.app.config] in its pyproject.toml."""


def resolve_section(section: PeerSection, seed: int, base: Path) -> PeerSection:
    """The section with defaults and absolute paths; raises KeyProblem for what cannot be."""
    section = _resolved_app(section, base)
    _check_method(section)
    weights = section.weights or WEIGHTS[section.method]
    section = section.model_copy(update={"weights": weights})
    if section.engine == "grpc" and (why := why_not_real(section)):
        raise _problem("engine", f"{why}; or use batched")
    topology = resolve_topology(section.topology, section.peers, seed, base)
    section = section.model_copy(update={"topology": topology})
    _check_links(section)
    agree = section.method == "p2pl" and section.app in BUILT_IN_APPS
    start = section.start or ("max-norm" if agree else "common")
    return section.model_copy(update={"start": start, "gamma": section.gamma or _gamma(section)})


def _resolved_app(section: PeerSection, base: Path) -> PeerSection:
    if section.hidden is not None and section.app != "mlp":
        raise _problem("hidden", f"is for app mlp, and app is {section.app}")
    if section.app not in BUILT_IN_APPS:
        return _resolved_folder(section, base)
    if section.run_config:
        raise _problem("run_config", "is for app folders; built-in apps have data and local")
    data = _resolved_data(section, base)
    local = _resolved_local(section.local or PeerLocalSection())
    return section.model_copy(update={"data": data, "local": local})


def _resolved_folder(section: PeerSection, base: Path) -> PeerSection:
    folder = folder_of_app(section.app, base, "peer-to-peer")
    for key in ("data", "local", "affinity"):
        if getattr(section, key) is not None:
            raise _problem(key, "is for built-in apps; an app folder trains by its own code")
    if section.precision != "float32":
        raise _problem("precision", "is for built-in apps; app folders have float32")
    if section.start not in (None, "common"):
        raise _problem("start", "is common with an app folder, whose ServerApp has one model")
    try:
        read_app_folder(folder).configured(section.run_config)
    except KeyProblem as problem:  # its keys are those of a federated job
        raise KeyProblem((NAME, *problem.key[1:]), problem.message) from None
    return section.model_copy(update={"app": str(folder)})


def _check_method(section: PeerSection) -> None:
    method = section.method
    for key in ("consensus", "affinity"):
        if getattr(section, key) is not None and method != "p2pl":
            raise _problem(key, f"is for method p2pl, and method is {method}")
    for key in ("compression", "gamma"):
        if getattr(section, key) is not None and method != "choco":
            raise _problem(key, f"is for method choco, and method is {method}")
    if method == "choco" and section.compression is None:
        raise _problem(
            "compression", "is missing: method choco needs it, e.g. {kind: top-k, fraction: 0.1}"
        )
    if section.robust is not None and method not in ROBUST:
        raise _problem("robust", f"is for {', '.join(ROBUST)}, and method is {method}")
    if section.robust is not None and section.affinity is not None:
        raise _problem("affinity", "trusts what neighbours send, and robust does not")
    if section.weights is not None and WEIGHTS[method] is None:
        raise _problem("weights", f"method {method} has weights of its own")
    if method == "choco" and section.weights not in (None, *SYMMETRIC):
        raise _problem("weights", f"method choco needs symmetric ones: {' or '.join(SYMMETRIC)}")


def _check_links(section: PeerSection) -> None:
    topology, method = section.topology, section.method
    if method == "choco" and topology.changes:
        key = next(k for k in ("up", "cut", "redraw_every") if k in topology.model_fields_set)
        raise KeyProblem((NAME, "topology", key), "method choco needs the same links in all rounds")
    if not _directed(section):
        return
    if method in ("gossip", "choco"):
        raise KeyProblem((NAME, "topology", "kind"), f"method {method} needs undirected links")
    if section.weights == "metropolis":
        raise _problem("weights", "metropolis needs undirected links; use uniform, or method sgp")


def _directed(section: PeerSection) -> bool:
    if section.topology.kind != "file":
        return section.topology.kind in DIRECTED
    from covey.federation.p2p.graph_file import read_graph

    assert section.topology.path is not None
    return bool(read_graph(section.topology.path, section.peers).is_directed())


def _resolved_data(section: PeerSection, base: Path) -> DataSection:
    if section.data is None:
        raise _problem(
            "data",
            f"is missing; write data: {{name: ...}}, one of {', '.join(DATA_SETS)}, or "
            "{path: ...}, a folder of arrays",
        )
    for key in ("held_out", "public"):
        if getattr(section.data, key):
            raise KeyProblem((NAME, "data", key), "is for federated jobs")
    try:
        return resolve_data(section.data, section.app, section.peers, base)
    except KeyProblem as problem:  # its keys are those of a federated job
        message = problem.message.replace("clients", "peers")
        raise KeyProblem((NAME, *problem.key[1:]), message) from None


def _resolved_local(local: PeerLocalSection) -> PeerLocalSection:
    if local.order != "shuffled":
        raise KeyProblem((NAME, "local", "order"), "peers shuffle their data in each pass")
    if local.epochs is not None and local.steps is not None:
        raise KeyProblem(
            (NAME, "local", "steps"), "cannot stand beside epochs; leave one of them out"
        )
    if local.epochs is None and local.steps is None:
        return local.model_copy(update={"epochs": 1})
    return local


def _gamma(section: PeerSection) -> float | None:
    match section.compression:
        case None:
            return None
        case TopK(fraction=fraction):
            return min(1.0, 4 * fraction)
        case RandomK(fraction=fraction):
            return fraction
    return 0.34


def _problem(key: str, message: str) -> KeyProblem:
    return KeyProblem((NAME, key), message)
