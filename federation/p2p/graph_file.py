"""A graph that a user brings in a file: lines of two numbers, or JSON. Nothing in it is trusted."""

import json
from pathlib import Path
from typing import Any

import networkx as nx  # type: ignore[import-untyped]

MAX_BYTES = 2**24
"""A million edges with numbers of six digits."""


def read_graph(path: str, peers: int) -> nx.Graph:
    """The graph, of peers 0..peers-1. ValueError with the reason for a file that holds none."""
    text = _text(Path(path))
    if path.endswith(".json"):
        edges, directed = _from_json(text, path)
    else:
        edges, directed = _from_lines(text, path), False
    for edge in edges:
        if not all(type(one) is int and 0 <= one < peers for one in edge) or len(edge) != 2:
            raise ValueError(f"{path}: {str(edge)[:60]} is no edge of peers 0..{peers - 1}")
        if edge[0] == edge[1]:
            raise ValueError(f"{path}: peer {edge[0]} is linked with itself")
    graph = nx.empty_graph(peers, create_using=nx.DiGraph if directed else nx.Graph)
    graph.add_edges_from(edges)
    return graph


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"{path}: larger than {MAX_BYTES} bytes")
        return content.decode()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text") from None


def _from_json(text: str, path: str) -> tuple[list[Any], bool]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{path}: no JSON") from None
    if not isinstance(document, dict) or document.keys() - {"edges", "directed"}:
        raise ValueError(f'{path}: write {{"edges": [[0, 1], ...], "directed": false}}')
    edges, directed = document.get("edges"), document.get("directed", False)
    if not isinstance(edges, list) or not all(isinstance(edge, list) for edge in edges):
        raise ValueError(f"{path}: edges must be a list of pairs")
    if not isinstance(directed, bool):
        raise ValueError(f"{path}: directed must be true or false")
    return edges, directed


def _from_lines(text: str, path: str) -> list[list[int]]:
    edges = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or not all(word.isascii() and word.isdigit() for word in words):
            raise ValueError(f"{path}, line {number}: {line[:60]!r} is not two numbers")
        if max(map(len, words)) > 9:
            raise ValueError(f"{path}, line {number}: a number of more than 9 digits")
        edges.append([int(word) for word in words])
    return edges
