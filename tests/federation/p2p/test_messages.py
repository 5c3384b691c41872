"""Messages of peers, and what is left of a round when some do not come."""

import networkx as nx
import numpy as np
import pytest

from covey.federation.p2p.compressors import Quantised, RandomK, TopK
from covey.federation.p2p.links import links_of
from covey.federation.p2p.messages import (
    MOST_SAMPLES,
    SAMPLES,
    Message,
    check_message,
    in_one,
    message_bytes,
    out_of_one,
)
from covey.federation.p2p.mixing import mixing_matrix

VECTOR = np.random.default_rng(0).normal(size=(1, 40)).astype(np.float32)
MESSAGES: dict[str, Message] = {
    "plain": {"vector": VECTOR},
    "push": {"vector": VECTOR, "weight": np.array([[0.3]])},
    "top-k": TopK(0.1).pack(VECTOR, [0], 1),
    "random-k": RandomK(0.1, 2).pack(VECTOR, [0], 1),
    "quantised": Quantised(3).pack(VECTOR, [0], 1),
}


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"vector": np.ones((1, 3)), "more": np.ones((1, 3))}, "arrays called"),
        ({"vektor": np.ones((1, 3))}, "arrays called"),
        ({"vector": np.ones((1, 4))}, "is to be"),
        ({"vector": np.ones((1, 3), np.float32)}, "is to be"),
        ({"vector": np.array([[1, np.nan, 2]])}, "not finite"),
        ({"vector": np.array([[1, -np.inf, 2]])}, "not finite"),
    ],
)
def test_what_a_neighbour_sends_is_checked(message: dict[str, np.ndarray], said: str) -> None:
    own = {"vector": np.zeros((1, 3))}
    check_message({"vector": np.ones((1, 3))}, own)
    with pytest.raises(ValueError, match=said):
        check_message(message, own)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_goes_over_the_wire_as_one_array(name: str) -> None:
    message = MESSAGES[name]
    own = {key: np.zeros_like(array) for key, array in message.items()}
    written = in_one(message)
    assert written.ndim == 1 and written.nbytes == message_bytes(message)
    found = out_of_one(written, own)
    for key, array in message.items():
        assert found[key].dtype == array.dtype
        np.testing.assert_array_equal(found[key], array)
    with pytest.raises(ValueError, match="to be"):
        out_of_one(written[:-1], own)
    with pytest.raises(ValueError, match="to be"):
        out_of_one(written.astype(np.float64), own)


def test_numbers_in_bytes_are_looked_at() -> None:
    own = MESSAGES["push"]
    with pytest.raises(ValueError, match="not finite"):
        out_of_one(in_one({**own, "weight": np.array([[np.nan]])}), own)


@pytest.mark.parametrize(("samples", "fits"), [(0, True), (MOST_SAMPLES, True),
                                               (-1, False), (MOST_SAMPLES + 1, False)])  # fmt: skip
def test_nobody_has_less_than_no_samples_or_too_many(samples: int, fits: bool) -> None:
    own = {"vector": VECTOR, SAMPLES: np.array([[7]])}
    written = in_one({"vector": VECTOR, SAMPLES: np.array([[samples]])})
    assert written.nbytes == VECTOR.nbytes + 8
    if fits:
        assert out_of_one(written, own)[SAMPLES].tolist() == [[samples]]
        return
    with pytest.raises(ValueError, match="samples"):
        out_of_one(written, own)


def test_the_weights_of_those_who_are_missing_go_to_the_rest() -> None:
    graph = nx.star_graph(4)
    matrix = mixing_matrix(graph, "data-size", [1, 2, 3, 4, 5])
    links = links_of(graph, matrix, 0).only([1, 3])
    assert links.senders.tolist() == [0, 1, 3] and links.peers.tolist() == [0]
    np.testing.assert_allclose(links.weights.toarray(), [[1 / 7, 2 / 7, 4 / 7]])
    nothing = mixing_matrix(graph, "data-size", [0, 2, 3, 4, 5])
    left = links_of(graph, nothing, 1).only([])
    np.testing.assert_allclose(left.weights.toarray(), [[1]])
    without = links_of(graph, nothing, 0).only([])
    np.testing.assert_allclose(without.weights.toarray(), [[1]])
    alone = links_of(graph, matrix, 2).only([])
    assert alone.senders.tolist() == [2]
    np.testing.assert_allclose(alone.weights.toarray(), [[1]])
