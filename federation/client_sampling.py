"""Which clients train in a round, in the place of Flower's `sample_nodes`.

The strategy goes on to say how many: every strategy that calls Flower's function works with it, so
all of Flower's own (DP wrappers ask the one inside; FedXgbCyclic takes one client of those that are
chosen), and all that inherit `configure_train` from them.
"""

import random
from collections.abc import Sequence

import numpy as np
from flwr.serverapp import Grid
from numpy.typing import NDArray

from covey.federation.client_runner import FIRST_NODE_ID
from covey.federation.flower_internals import wait_for_nodes
from covey.federation.ledger import Ledger
from covey.federation.rounds_section import SamplingSection
from covey.federation.simulated_grid import SimulatedGrid
from covey.platform.errors import UserError
from covey.platform.seeds import derive


class Sampler:
    """A sampling policy. Without a section it draws as Flower does, from Python's generator; with
    one from (seed, round, attempt), so it leaves that generator alone.

    Clients that were asked in an earlier attempt at the same round are asked again only when there
    are too few others. `samples`: how many each client has, by number; without it `weighted` goes
    by what clients have told so far (the mean of those for one that has told nothing).
    """

    def __init__(
        self,
        section: SamplingSection | None,
        seed: int,
        ledger: Ledger,
        samples: Sequence[int] | None = None,
    ) -> None:
        self.position = 0
        """Where in the population round-robin goes on; part of the checkpoint."""
        self.used = False
        """Whether anybody has asked yet."""
        self._section = section
        self._seed = seed
        self._ledger = ledger
        self._samples = samples
        self._occasion: tuple[str, int, int] = ("train", 0, 0)
        self._asked: set[int] = set()
        self._draws = 0

    @property
    def policy(self) -> str | None:
        """The name of the policy; None for Flower's own."""
        return self._section.policy if self._section else None

    @property
    def why_few(self) -> str:
        """What to do about it when few clients are there, where it is this policy's doing."""
        if self._section is None or self._section.policy != "available":
            return ""
        return (
            f" (federated.sampling.probability is {self._section.probability}: raise it, or "
            "federated.round.attempts)"
        )

    def begin(self, kind: str, number: int, attempt: int, asked: set[int]) -> None:
        """From here on choose for messages of this kind in round `number`; `asked` are the nodes
        that earlier attempts have gone to.
        """
        self._occasion = (kind, number, attempt)
        self._asked = asked
        self._draws = 0

    def sample_nodes(
        self, grid: Grid, min_available_nodes: int, sample_size: int
    ) -> tuple[list[int], list[int]]:
        """Flower's function: the chosen nodes, and all. UserError rather than wait for clients that
        a simulation will never have.
        """
        needed = max(min_available_nodes, sample_size)
        nodes = list(grid.get_node_ids())
        if len(nodes) < needed:
            if isinstance(grid, SimulatedGrid):
                raise UserError(
                    f"the strategy waits for {needed} clients, but there are {len(nodes)}: raise "
                    f"federated.clients to {needed}, or let the strategy ask for fewer"
                )
            nodes = wait_for_nodes(grid, needed)
        return self.choose(nodes, sample_size, nodes), nodes

    def choose(self, nodes: list[int], size: int, population: list[int]) -> list[int]:
        """`size` of the nodes, which are some or all of the population; in a drawn order, except
        for round-robin. Fewer where the policy `available` finds fewer.
        """
        self.used = True
        fresh = [node for node in nodes if node not in self._asked] if self._asked else nodes
        if len(fresh) >= size:
            return self._choose(fresh, size, population)
        again = [node for node in nodes if node in self._asked]
        first = self._choose(fresh, len(fresh), population) if fresh else []
        return first + self._choose(again, size - len(fresh), population)

    def _choose(self, nodes: list[int], size: int, population: list[int]) -> list[int]:
        policy = self.policy
        if policy is None:
            return random.sample(nodes, size)
        kind, number, attempt = self._occasion
        seed = derive(self._seed, f"sampling {kind}", number, attempt, self._draws)
        self._draws += 1
        rng = np.random.default_rng(seed)
        if policy == "round-robin" and kind == "train":
            return self._in_turn(nodes, size, population)
        shares = None
        if policy == "weighted" and kind == "train":
            shares = self._shares(nodes, size)
        elif policy == "available":
            there = self._there(len(population))[_places(nodes, population)]
            nodes = [nodes[place] for place in np.flatnonzero(there)]
            size = min(size, len(nodes))
        return [nodes[place] for place in rng.choice(len(nodes), size, replace=False, p=shares)]

    def _in_turn(self, nodes: list[int], size: int, population: list[int]) -> list[int]:
        places = _places(nodes, population)
        order = np.argsort(places)
        first = int(np.searchsorted(places[order], self.position % len(population)))
        turn = np.roll(order, -first)[:size]
        if size:
            self.position = int(places[turn[-1]]) + 1
        return [nodes[place] for place in turn]

    def _there(self, clients: int) -> NDArray[np.bool_]:
        """Drawn for the population at once: who is there depends on nobody else's being asked."""
        assert self._section and self._section.probability
        _, number, attempt = self._occasion
        rng = np.random.default_rng(derive(self._seed, "availability", number, attempt))
        return rng.random(clients) < self._section.probability

    def _shares(self, nodes: list[int], size: int) -> NDArray[np.float64]:
        if self._samples is not None:
            counts = np.array([self._samples[node - FIRST_NODE_ID] for node in nodes], np.float64)
        else:
            counts = self._told(nodes)
        if np.count_nonzero(counts) < size:
            raise UserError(
                f"federated.sampling: {size} clients are to be drawn by their number of samples, "
                f"but only {np.count_nonzero(counts)} have any"
            )
        shares: NDArray[np.float64] = counts / counts.sum()
        return shares

    def _told(self, nodes: list[int]) -> NDArray[np.float64]:
        accounts = self._ledger.accounts
        told = np.array([accounts[n].samples if n in accounts else 0 for n in nodes], np.float64)
        known = told > 0
        told[~known] = told[known].mean() if known.any() else 1
        return told


def _places(nodes: list[int], population: list[int]) -> NDArray[np.intp]:
    """Where in the population each of the nodes stands."""
    if nodes is population:
        return np.arange(len(nodes))
    places = {node: place for place, node in enumerate(population)}
    return np.array([places[node] for node in nodes], np.intp)
