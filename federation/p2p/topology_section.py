"""The `topology:` part of a peer-to-peer job file: who is linked with whom, and when."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from covey.platform.errors import KeyProblem
from covey.platform.jobfile.model import Count, Section

KEY = ("peer-to-peer", "topology")
DIRECTED = ("directed-exponential", "one-peer-exponential")
DRAWN = ("erdos-renyi", "k-regular")
OPTIONS = {
    "degree": ("k-regular",),
    "p": ("erdos-renyi",),
    "connected": DRAWN,
    "redraw_every": DRAWN,
    "path": ("file",),
}
"""The kinds that an option is for."""
DEGREE, P = 4, 0.1
WeightKind = Literal["data-size", "uniform", "metropolis", "max-degree"]
Probability = Annotated[float, Field(gt=0, le=1)]


class CutSection(Section):
    """A network in parts for some rounds, which then heals: links between the groups are down."""

    groups: Annotated[int, Field(ge=2)] | tuple[tuple[Annotated[int, Field(ge=0)], ...], ...] = 2
    """How many parts of neighbouring numbers, or the parts themselves, as lists of peers; who is
    in no list is in one more part.
    """
    from_round: Count = Field(alias="from", description="The first round that is cut.")
    until: Count
    """The first round that is whole again."""


class TopologySection(Section):
    """A graph of the peers, static or anew by round."""

    kind: Literal[
        "complete",
        "ring",
        "star",
        "torus",
        "k-regular",
        "erdos-renyi",
        "exponential",
        "directed-exponential",
        "one-peer-exponential",
        "file",
    ] = "ring"
    """star: peer 0 is the hub. torus: a grid as square as can be, its sides glued. k-regular: drawn
    among the graphs in which all have `degree` neighbours. erdos-renyi: each link is there with
    probability `p`. exponential: links to those 1, 2, 4, ... further in a circle, both ways;
    directed-exponential: one way; one-peer-exponential: one way, one of them a round, in turns.
    file: what `path` says.
    """
    degree: Count | None = None
    """Only for k-regular, 4 if left out."""
    p: Probability | None = None
    """Only for erdos-renyi, 0.1 if left out."""
    connected: bool | None = None
    """Only for the two that are drawn: draw again until all are connected; true if left out."""
    redraw_every: Count | None = None
    """Only for the two that are drawn: a new graph every so many rounds; one for good if left
    out.
    """
    path: str | None = None
    """Only for file, relative to the job file: lines of two numbers, `0 1`, or, if it ends with
    .json, {"edges": [[0, 1], ...]}, with "directed": true for edges from the first to the second.
    """
    up: Probability = 1.0
    """Each link is up in a round with this probability, independently."""
    cut: CutSection | None = None

    @property
    def changes(self) -> bool:
        """Whether the links are not the same in all rounds."""
        return self.up < 1 or self.cut is not None or self.redraw_every is not None


def resolve_topology(
    topology: TopologySection, peers: int, seed: int, base: Path
) -> TopologySection:
    """The section with defaults and an absolute path; KeyProblem for what cannot be: the first
    graph is made to find that out.
    """
    for option, kinds in OPTIONS.items():
        if getattr(topology, option) is not None and topology.kind not in kinds:
            raise _problem(option, f"is for {' and '.join(kinds)}, and kind is {topology.kind}")
    _check_cut(topology.cut, peers)
    update: dict[str, object] = {}
    if topology.kind == "file":
        if topology.path is None:
            raise _problem("path", "is missing: the file with the edges")
        update["path"] = str(Path(base, Path(topology.path).expanduser()).absolute())
    if topology.kind == "k-regular" and topology.degree is None:
        update["degree"] = DEGREE
    if topology.kind == "erdos-renyi" and topology.p is None:
        update["p"] = P
    if topology.kind in DRAWN and topology.connected is None:
        update["connected"] = True
    topology = topology.model_copy(update=update)
    from covey.federation.p2p.topology import Topology

    try:
        Topology(topology, peers, seed)
    except ValueError as error:
        key = "path" if topology.kind == "file" else "kind"
        raise _problem(key, str(error)) from None
    return topology


def _check_cut(cut: CutSection | None, peers: int) -> None:
    if cut is None:
        return
    if cut.until <= cut.from_round:
        raise _problem("cut", f"until is {cut.until}, which is not after from ({cut.from_round})")
    if isinstance(cut.groups, int):
        if cut.groups > peers:
            raise _problem("cut", f"{cut.groups} groups of {peers} peers")
        return
    named = [peer for group in cut.groups for peer in group]
    if len(set(named)) < len(named) or max(named, default=0) >= peers:
        raise _problem("cut", f"groups must name each of the peers 0..{peers - 1} once at most")


def _problem(key: str, message: str) -> KeyProblem:
    return KeyProblem((*KEY, key), message)
