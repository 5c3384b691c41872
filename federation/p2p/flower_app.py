"""The peers of a Flower app: its ClientApp is the local trainer, its ServerApp only asked for the
weights to begin with, the configs and the evaluation.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from numpy.typing import NDArray

from covey.federation.figures import ACCURACY_NAMES
from covey.federation.generators import preserved
from covey.federation.numpy_array import NumpyArray, numbers_of
from covey.federation.p2p.learners import OWN, Floats, vectors_of
from covey.federation.p2p.links import Rows
from covey.federation.p2p.messages import MOST_SAMPLES
from covey.federation.p2p.task import views
from covey.federation.records import array_record
from covey.federation.simulated_grid import SimulatedGrid
from covey.federation.snapshot import pack_states, unpack_states
from covey.federation.start import Start
from covey.platform.errors import UserError
from covey.platform.runs.run import Checkpoint, Part, Run

CLIENTS = "clients.bin"
LOSS_NAMES = ("train_loss", "loss")
TOLD_SAMPLES = "num-examples"


class FlowerPeers:
    """See `Learners`; messages go to the nodes of these peers alone. Floating-point arrays are what
    peers exchange; others (counts of batches, say) stay with each.
    """

    def __init__(self, run: Run, grid: SimulatedGrid, asked: Start, peers: Sequence[int]) -> None:
        self._run, self._grid, self._asked, self._peers = run, grid, asked, peers
        # What Flower's strategies call the two records of a message.
        self._arrays = str(getattr(asked.strategy, "arrayrecord_key", "arrays"))
        self._config = str(getattr(asked.strategy, "configrecord_key", "config"))
        first = {name: numbers_of(array) for name, array in asked.initial_arrays.items()}
        floats = {name: array for name, array in first.items() if array.dtype.kind == "f"}
        if not floats:
            raise UserError("the ServerApp's initial arrays have no floating-point numbers")
        self.shapes: dict[str, tuple[int, ...]] = {n: array.shape for n, array in floats.items()}
        self._looks = {name: (array.dtype, array.shape) for name, array in first.items()}
        self.sizes = [1] * len(peers)
        self._own = {
            name: np.stack([array] * len(peers))
            for name, array in first.items()
            if name not in floats
        }
        self._first = vectors_of({name: array[None] for name, array in floats.items()}, self.shapes)

    def first(self) -> Rows:
        """The ServerApp's model, for everybody."""
        return np.repeat(self._first.astype(np.float32), len(self._peers), axis=0)

    def train(self, params: Rows, round_: int, pull: Rows | None) -> Floats:
        """Every peer's ClientApp trains its own model. Who fails keeps what it had. UserError if
        all do.
        """
        sizes, losses, failed = list(self.sizes), [], 0
        replies = self._asked_all("train", params, round_, self._asked.train_config)
        for row, (peer, reply) in enumerate(zip(self._peers, replies, strict=True)):
            try:
                arrays, metrics = self._trained(reply)
            except ValueError as error:
                failed, why = failed + 1, " ".join(str(error).split())
                self._run.event("peer-failed", f"peer {peer}: {why}", peer=peer, round=round_)
                if failed == len(params):
                    at = " at every peer" if failed > 1 else ""
                    text = f"round {round_}: the ClientApp failed{at}: {why}"
                    raise UserError(text) from None
                continue
            params[row] = vectors_of(
                {name: arrays[name][None] for name in self.shapes}, self.shapes
            )[0]
            for name, own in self._own.items():
                own[row] = arrays[name]
            sizes[row] = int(metrics.get(TOLD_SAMPLES, sizes[row]))
            losses += [metrics[name] for name in LOSS_NAMES if name in metrics][:1]
        self.sizes = sizes
        return np.array(losses, float)

    def accuracies(self, params: Rows, round_: int) -> Floats | None:
        """By the ServerApp's evaluation if it has one, else by each peer's ClientApp."""
        if (evaluate := self._asked.evaluate_fn) is not None:
            with preserved():
                told = [evaluate(round_, self._record(params, row)) for row in range(len(params))]
        else:
            replies = self._asked_all("evaluate", params, round_, self._asked.evaluate_config)
            told = [None if reply.has_error() else _metrics(reply) for reply in replies]
        found = [_accuracy(metrics) for metrics in told]
        known = [value for value in found if value is not None]
        return np.array(known, float) if len(known) == len(params) else None

    def kept(self) -> dict[str, Part]:
        """The clients' contexts, and arrays that are not exchanged."""
        parts: dict[str, Part] = {CLIENTS: pack_states(self._grid.states)}
        if self._own:
            parts[OWN] = {name: array.copy() for name, array in self._own.items()}
        return parts

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from there."""
        self._grid.states = unpack_states(checkpoint.read(CLIENTS))
        if self._own:
            self._own = {name: np.array(own) for name, own in checkpoint.arrays(OWN).items()}

    def _asked_all(
        self, kind: str, params: Rows, round_: int, config: ConfigRecord | None
    ) -> list[Message]:
        told = ConfigRecord({**(config or {}), "server-round": round_})
        nodes = self._grid.get_node_ids()
        messages = [
            Message(
                RecordDict({self._arrays: self._record(params, row), self._config: told}),
                nodes[peer],
                kind,
            )
            for row, peer in enumerate(self._peers)
        ]
        return list(self._grid.send_and_receive(messages))

    def _record(self, params: Rows, row: int) -> ArrayRecord:
        """A peer's model as its ClientApp gets it; a copy."""
        mine = views(params[row : row + 1].copy(), self.shapes)
        arrays = {}
        for name, (kind, _) in self._looks.items():
            own = mine[name][0].numpy() if name in mine else self._own[name][row]
            arrays[name] = NumpyArray(np.array(own, kind))
        return array_record(arrays)

    def _trained(self, reply: Message) -> tuple[dict[str, NDArray[Any]], dict[str, float]]:
        """A reply's arrays and figures; ValueError for one that is none."""
        if reply.has_error():
            raise ValueError(reply.error.reason)
        records = list(reply.content.array_records.values())
        if len(records) != 1 or records[0].keys() != self._looks.keys():
            raise ValueError("its reply has other arrays than it was sent")
        arrays = {name: numbers_of(array) for name, array in records[0].items()}
        for name, array in arrays.items():
            if array.shape != self._looks[name][1]:
                raise ValueError(f"its reply has {name} of shape {array.shape}")
        told = _metrics(reply) or MetricRecord()
        numbers = {name: float(v) for name, v in told.items() if isinstance(v, int | float)}
        if not 0 <= numbers.get(TOLD_SAMPLES, 0) <= MOST_SAMPLES:
            raise ValueError(f"its reply tells of {numbers[TOLD_SAMPLES]} samples")
        return arrays, numbers


def _metrics(reply: Message) -> MetricRecord | None:
    return next(iter(reply.content.metric_records.values()), None)


def _accuracy(metrics: MetricRecord | None) -> float | None:
    values = [metrics[name] for name in ACCURACY_NAMES if name in metrics] if metrics else []
    return float(values[0]) if values and isinstance(values[0], int | float) else None
