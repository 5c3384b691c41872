"""Graphs by kind, by round and from files."""

import json
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

from covey.federation.p2p.graphs import make_graph
from covey.federation.p2p.topology import Topology, matching
from covey.federation.p2p.topology_section import TopologySection, resolve_topology
from covey.platform.errors import KeyProblem


def section(peers: int = 12, base: Path = Path(), seed: int = 4, **keys: Any) -> TopologySection:
    read = TopologySection.model_validate_json(json.dumps(keys))
    return resolve_topology(read, peers, seed, base)


def topology(peers: int = 12, seed: int = 4, **keys: Any) -> Topology:
    return Topology(section(peers, seed=seed, **keys), peers, seed)


@pytest.mark.parametrize(
    ("keys", "peers", "edges", "diameter"),
    [
        ({"kind": "complete"}, 12, 66, 1),
        ({"kind": "ring"}, 100, 100, 50),
        ({"kind": "ring"}, 2, 1, 1),
        ({"kind": "star"}, 12, 11, 2),
        ({"kind": "torus"}, 100, 200, 10),
        ({"kind": "torus"}, 12, 24, 3),
        ({"kind": "k-regular", "degree": 3}, 12, 18, None),
        ({"kind": "exponential"}, 16, 16 * 3 + 8, 2),
        ({"kind": "directed-exponential"}, 16, 64, 4),
    ],
)
def test_kinds(keys: dict[str, Any], peers: int, edges: int, diameter: int | None) -> None:
    graph = topology(peers, **keys).graph(1)
    assert set(graph.nodes) == set(range(peers))
    assert graph.number_of_edges() == edges
    if diameter is not None:
        assert nx.diameter(graph) == diameter


def test_a_star_has_its_hub_at_0() -> None:
    assert topology(kind="star").graph(1).degree[0] == 11


def test_all_of_a_regular_graph_have_their_degree() -> None:
    graph = topology(kind="k-regular").graph(1)
    assert {degree for _, degree in graph.degree} == {4} and nx.is_connected(graph)


def test_a_sparse_random_graph_is_drawn_until_it_is_connected() -> None:
    seeds = range(20)
    loose = [make_graph(section(kind="erdos-renyi", p=0.2, connected=False), 12, s) for s in seeds]
    bound = [make_graph(section(kind="erdos-renyi", p=0.2), 12, s) for s in seeds]
    assert not all(map(nx.is_connected, loose)) and all(map(nx.is_connected, bound))


def test_the_same_seed_gives_the_same_links_in_any_order_of_asking() -> None:
    keys: dict[str, Any] = {"kind": "erdos-renyi", "p": 0.4, "redraw_every": 2, "up": 0.5}
    one, other = topology(**keys), topology(**keys)
    forth = [list(one.graph(number).edges) for number in range(1, 9)]
    back = [list(other.graph(number).edges) for number in range(8, 0, -1)]
    assert forth == back[::-1]
    assert forth != [list(topology(seed=5, **keys).graph(n).edges) for n in range(1, 9)]


def test_a_graph_is_redrawn_every_so_many_rounds() -> None:
    graphs = topology(kind="erdos-renyi", p=0.4, redraw_every=3)
    sets = [set(graphs.graph(number).edges) for number in range(1, 8)]
    assert sets[0] == sets[1] == sets[2] != sets[3] == sets[5] != sets[6]


def test_links_are_up_with_their_probability() -> None:
    graphs = topology(40, kind="complete", up=0.3)
    counts = [graphs.graph(number).number_of_edges() / 780 for number in range(1, 21)]
    # 15,600 links of 0.3: a standard deviation of 0.0037.
    assert np.mean(counts) == pytest.approx(0.3, abs=0.015)
    assert len(set(counts)) > 5


def test_a_static_graph_is_the_same_object() -> None:
    graphs = topology(kind="ring")
    assert graphs.graph(1) is graphs.graph(7)


def test_one_peer_a_round_in_turns() -> None:
    graphs = topology(10, kind="one-peer-exponential")
    for round_, hop in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 1)):
        graph = graphs.graph(round_)
        assert set(graph.edges) == {(peer, (peer + hop) % 10) for peer in range(10)}
    assert set(graphs.whole().edges) == {(i, (i + h) % 10) for i in range(10) for h in (1, 2, 4, 8)}


@pytest.mark.parametrize("groups", [2, [[0, 1, 2, 3, 4, 5]]])
def test_a_cut_heals(groups: object) -> None:
    graphs = topology(kind="complete", cut={"groups": groups, "from": 3, "until": 5})
    components = [nx.number_connected_components(graphs.graph(number)) for number in range(1, 7)]
    assert components == [1, 1, 2, 2, 1, 1]
    assert {0, 5} < nx.node_connected_component(graphs.graph(3), 1)


def test_pairs_meet_once_and_only_over_links() -> None:
    graph = topology(kind="ring").graph(1)
    seen = set()
    for round_ in range(30):
        pairs = matching(graph, 4, round_)
        assert max(dict(pairs.degree).values()) == 1
        assert set(pairs.edges) <= set(graph.edges)
        left = [peer for peer, degree in pairs.degree if degree == 0]
        assert not graph.subgraph(left).edges
        seen |= set(pairs.edges)
    assert seen == set(graph.edges)


def test_lines_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "graph.txt").write_text("# who with whom\n0 1\n\n1 2  # a comment\n1 0\n")
    found = section(4, tmp_path, kind="file", path="graph.txt")
    assert set(Topology(found, 4, 0).graph(1).edges) == {(0, 1), (1, 2)}


def test_json_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "graph.json").write_text('{"edges": [[0, 1], [1, 0], [2, 1]], "directed": true}')
    found = Topology(section(3, tmp_path, kind="file", path="graph.json"), 3, 0)
    assert found.directed and set(found.graph(1).edges) == {(0, 1), (1, 0), (2, 1)}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", "0 1 2\n", "line 1: '0 1 2' is not two numbers"),
        ("a.txt", "0 -1\n", "not two numbers"),
        ("a.txt", f"0 {'9' * 5000}\n", "more than 9 digits"),
        ("a.txt", "0 1\n0 4\n", r"\[0, 4\] is no edge of peers 0..3"),
        ("a.txt", "1 1\n", "linked with itself"),
        ("a.txt", b"\xff\xfe", "not UTF-8"),
        ("a.json", "[[0, 1]]", "write"),
        ("a.json", '{"edges": [[0, 1.5]]}', "no edge"),
        ("a.json", '{"edges": [[true, 0]]}', "no edge"),
        ("a.json", '{"edges": [[0, 1, 2]]}', "no edge"),
        ("a.json", '{"edges": {"0": 1}}', "list of pairs"),
        ("a.json", "[" * 100_000, "no JSON"),
        ("a.json", '{"edges": [], "directed": 1}', "directed"),
        ("a.txt", "#" * (2**24 + 1), "larger than"),
        ("b.txt", None, "cannot be read"),
    ],
)
def test_files_that_hold_no_graph(
    tmp_path: Path, name: str, content: str | bytes | None, said: str
) -> None:
    if content is not None:
        text = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(text)
    with pytest.raises(KeyProblem, match=said) as caught:
        section(4, tmp_path, kind="file", path=name)
    assert caught.value.key == ("peer-to-peer", "topology", "path")


@pytest.mark.parametrize(
    ("keys", "key", "said"),
    [
        ({"kind": "ring", "degree": 3}, "degree", "is for k-regular"),
        ({"kind": "ring", "redraw_every": 3}, "redraw_every", "erdos-renyi and k-regular"),
        ({"kind": "torus"}, "kind", "no torus has 13 peers"),
        ({"kind": "k-regular", "degree": 3}, "kind", "one of the two even"),
        ({"kind": "k-regular", "degree": 14}, "kind", "less than peers"),
        ({"kind": "erdos-renyi", "p": 0.01}, "kind", "none of 1000 graphs"),
        ({"kind": "file"}, "path", "missing"),
        ({"cut": {"from": 3, "until": 3}}, "cut", "not after from"),
        ({"cut": {"from": 1, "until": 3, "groups": 14}}, "cut", "14 groups of 13"),
        ({"cut": {"from": 1, "until": 3, "groups": [[0, 13]]}}, "cut", "0..12"),
        ({"cut": {"from": 1, "until": 3, "groups": [[0], [0]]}}, "cut", "once"),
    ],
)
def test_what_cannot_be_is_one_line(keys: dict[str, Any], key: str, said: str) -> None:
    with pytest.raises(KeyProblem, match=said) as caught:
        section(13, **keys)
    assert caught.value.key == ("peer-to-peer", "topology", key)
