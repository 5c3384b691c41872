"""How peers bring their models together: what each sends, and what it makes of what it hears.

A method has the vectors of n peers in its hands: of all that a batched engine runs, or of one real
peer. Its arithmetic is by rows, so both compute the same.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from covey.federation.p2p.compressors import Compressor
from covey.federation.p2p.links import Links, Rows, product
from covey.federation.p2p.messages import Message
from covey.federation.p2p.robust import Combine, weighted

Arrays = dict[str, Rows]


class Method(ABC):
    """`params` [n, D] is what is trained in place and measured. A round:

    method.begin()
    ...                                           # local training changes method.params
    for exchange in range(method.exchanges):
        sent = method.send(links, round)          # a row for each of the n peers
        method.receive(sent, links, round)        # a row for each of the m that are heard
    """

    exchanges = 1

    def __init__(self, params: Rows) -> None:
        self.params = params

    def begin(self) -> None:  # noqa: B027
        """Local training is about to change the vectors."""

    def pull(self) -> Rows | None:
        """[n, D]: where neighbours are, as seen from here, for the local steps to lean to; None if
        they do not.
        """
        return None

    def send(self, links: Links, round_: int) -> Message:
        """The next exchange's messages."""
        return {"vector": self.params}

    @abstractmethod
    def receive(self, sent: Message, links: Links, round_: int) -> None:
        """Make new vectors. ValueError for messages that cannot be."""

    def kept(self) -> Arrays:
        """All that the next round needs beside `params`, for a checkpoint: [n, ...]."""
        return {}

    def restore(self, kept: Mapping[str, Rows]) -> None:
        """Go on from what a checkpoint has."""
        assert not kept


class P2pl(Method):
    """P2PL (arXiv 2310.18861): w_i <- w_i + damping * (sum_j W_ij w_j - w_i), `exchanges` times
    after local training. Without damping, after one, it is adapt-then-combine (Chen, Sayed 2012);
    with pairs for links, gossip.

    With `affinity` (arXiv 2312.13602) the local steps of the next round lean to where neighbours
    were before the consensus, sum_j b_ij w_j - w_i, with the weights of neighbours alone for b. It
    is made of what was heard anyway. Seen from the vector after the consensus: on a complete graph
    everybody's is the same then, and neighbours' after it would tell nothing.
    """

    def __init__(
        self,
        params: Rows,
        exchanges: int = 1,
        damping: float = 1.0,
        affinity: bool = False,
        combine: Combine = weighted,
    ) -> None:
        super().__init__(params)
        self.exchanges = exchanges
        self._damping, self._combine = damping, combine
        self._pull = np.zeros_like(params) if affinity else None
        self._done = 0

    def pull(self) -> Rows | None:
        return self._pull

    def receive(self, sent: Message, links: Links, round_: int) -> None:
        vectors = sent["vector"]
        if self._pull is not None and self._done == 0:
            self._pull = product(links.around, vectors)
        mixed = self._combine(self.params, vectors, links)
        if self._damping == 1:
            self.params = mixed
        else:
            mixed -= self.params
            mixed *= self._damping
            self.params += mixed
        self._done = (self._done + 1) % self.exchanges
        if self._pull is not None and self._done == 0:
            linked = links.around.sum(1) > 0
            self._pull[linked] -= self.params[linked]

    def kept(self) -> Arrays:
        return {} if self._pull is None else {"pull": self._pull}

    def restore(self, kept: Mapping[str, Rows]) -> None:
        if self._pull is not None:
            self._pull = np.array(kept["pull"])


class Dpsgd(Method):
    """Decentralised parallel SGD (Lian et al. 2017): w_i <- sum_j W_ij w_j - rate g_i(w_i). The
    vectors from before the local steps are mixed, and what these have changed is added.
    """

    def __init__(self, params: Rows, combine: Combine = weighted) -> None:
        super().__init__(params)
        self._combine = combine
        self._start = params

    def begin(self) -> None:
        self._start = self.params.copy()

    def send(self, links: Links, round_: int) -> Message:
        return {"vector": self._start}

    def receive(self, sent: Message, links: Links, round_: int) -> None:
        self.params -= self._start
        self.params += self._combine(self._start, sent["vector"], links)


class Push(Method):
    """Stochastic gradient push (Assran et al. 2019) on directed graphs. A peer has x_i and a weight
    u_i, 1 at first; it trains z_i = x_i / u_i, and adds to x_i what the local steps change. It
    parts both equally among itself and those who hear it; what arrives is added up. The sums over
    all peers stay what they were, so the mean is not biased to the well-connected.
    """

    def __init__(self, params: Rows) -> None:
        super().__init__(params)
        self._pushed = params.copy()
        self._weights = np.ones((len(params), 1))
        self._start = params

    def begin(self) -> None:
        self._start = self.params.copy()

    def send(self, links: Links, round_: int) -> Message:
        self._pushed += self.params - self._start
        shares = 1 / (links.hearers[:, None] + 1)
        vectors = self._pushed * shares.astype(self.params.dtype)
        return {"vector": vectors, "weight": self._weights * shares}

    def receive(self, sent: Message, links: Links, round_: int) -> None:
        if not (sent["weight"] > 0).all():
            raise ValueError("a weight of push-sum that is not above 0")
        self._pushed = product(links.weights, sent["vector"])
        self._weights = product(links.weights, sent["weight"])
        self.params = self._pushed / self._weights.astype(self.params.dtype)

    def kept(self) -> Arrays:
        return {"pushed": self._pushed, "weights": self._weights}

    def restore(self, kept: Mapping[str, Rows]) -> None:
        self._pushed, self._weights = np.array(kept["pushed"]), np.array(kept["weights"])


class Choco(Method):
    """CHOCO-SGD (Koloskova et al. 2019): every peer keeps an estimate of each neighbour's vector
    and of its own as they know it. After the local steps w_i <- w_i + gamma * sum_j W_ij (e_j -
    e_i), with the estimates from before, as in the authors' code; then the difference to its own
    estimate is sent, compressed, and everybody adds it to theirs.

    Links must be the same in all rounds. `known`: whether all have begun with one vector, which
    then is the first estimate; else it is 0.
    """

    def __init__(
        self, params: Rows, links: Links, gamma: float, compressor: Compressor, known: bool
    ) -> None:
        super().__init__(params)
        self._gamma, self._compressor = gamma, compressor
        shape = len(links.senders), params.shape[1]
        self._estimates = np.zeros(shape, params.dtype)
        if known:
            self._estimates[:] = params[0]

    def send(self, links: Links, round_: int) -> Message:
        change = product(links.weights, self._estimates)
        change -= self._estimates[links.own]
        change *= self._gamma
        self.params += change
        news = self.params - self._estimates[links.own]
        return self._compressor.pack(news, links.peers.tolist(), round_)

    def receive(self, sent: Message, links: Links, round_: int) -> None:
        size, senders = self.params.shape[1], links.senders.tolist()
        self._estimates += self._compressor.unpack(sent, size, senders, round_)

    def kept(self) -> Arrays:
        return {"estimates": self._estimates}

    def restore(self, kept: Mapping[str, Rows]) -> None:
        self._estimates = np.array(kept["estimates"])
