"""Engine `batched`: all peers in one process, their vectors the rows of one matrix."""

import json
import time
from collections.abc import Mapping

import numpy as np

from covey.federation.live_view import LiveView
from covey.federation.p2p.learners import MODEL, Learners, rate_of, vectors_in
from covey.federation.p2p.links import Links, Rows
from covey.federation.p2p.measuring import disagreement, spread
from covey.federation.p2p.messages import message_bytes
from covey.federation.p2p.mixing import max_norm_sync
from covey.federation.p2p.peers_table import PEERS, PeersTable
from covey.federation.p2p.rounds import Schedule, make_method
from covey.federation.p2p.section import PeerSection
from covey.federation.p2p.task import views
from covey.platform.errors import UserError
from covey.platform.runs.run import Checkpoint, Part, Run

STATE, PROGRESS = "method.safetensors", "progress.json"


class Batched:
    """The rounds of one run. `metrics` are the newest round's."""

    def __init__(
        self, run: Run, learners: Learners, schedule: Schedule, checkpoint: Checkpoint | None
    ) -> None:
        self.metrics: dict[str, float] = {}
        self._run, self._learners, self._schedule = run, learners, schedule
        self._section: PeerSection = run.job.section
        self._table = PeersTable()
        self._live_view = LiveView(run)
        self._round, self._resumed = 0, checkpoint is not None
        self._first_figures: dict[str, float] = {}
        if checkpoint is None:
            params = self._first()
        else:
            params = vectors_in(checkpoint, learners.shapes)
            self._round = checkpoint.step
            self.metrics = json.loads(checkpoint.read(PROGRESS))["metrics"]
            learners.restore(checkpoint)
        self._method = make_method(self._section, params, schedule.links(1), run.job.seed)
        if checkpoint is not None and STATE in checkpoint:
            self._method.restore(checkpoint.arrays(STATE))

    def run(self) -> None:
        """All rounds up to the job's stop, beginning after the checkpoint if there was one."""
        self._run.started()
        self._live_view.begin()
        saved = self._round if self._resumed else None
        if not self._resumed:
            self._report(self._first_figures | self._measured(""))
        reason = self._run.stop_reason(self._round, self.metrics)
        while reason is None:
            self._round += 1
            reason = self._one_round()
            if self._run.checkpoint_due(self._round):
                self._save()
                saved = self._round
            if reason is None:
                self._live_view.look(self._tables)
        if saved != self._round:
            self._save()
        for name, content in self._tables().items():
            self._run.table(name, content)

    def _one_round(self) -> str | None:
        """A round with all that is reported of it. Returns why it is the last, if it is."""
        began = time.perf_counter()
        method, every = self._method, self._section.evaluate_every
        due = self._round % every == 0 or self._round == self._run.job.stop.rounds
        method.begin()
        losses = self._learners.train(method.params, self._round, method.pull())
        self._schedule.weigh(dict(enumerate(self._learners.sizes)))
        figures = {"train_loss": float(losses.mean())} if len(losses) else {}
        figures |= self._measured("_local") if due else {}
        figures |= self._exchanged(self._schedule.links(self._round))
        figures |= self._measured("") if due else {}
        reason = self._run.stop_reason(self._round, figures)
        if reason is not None and not due:
            figures |= self._measured("")
        self._report({**figures, "round_s": time.perf_counter() - began})
        return reason

    def _exchanged(self, links: Links) -> dict[str, float]:
        """All exchanges of the round. What crosses a link is counted, both ways."""
        size, hearers = 0, float(links.hearers.mean())
        self._check_finite()
        for _ in range(self._method.exchanges):
            sent = self._method.send(links, self._round)
            size += message_bytes(sent)
            self._method.receive(sent, links, self._round)
        return {
            "bytes_per_peer": size * hearers,
            "bytes_per_link": float(size),
            "messages_per_peer": self._method.exchanges * hearers,
        }

    def _check_finite(self) -> None:
        """Real peers refuse such a neighbour; where it is our own arithmetic, the job is wrong."""
        with np.errstate(invalid="ignore", over="ignore"):
            astray = np.flatnonzero(~np.isfinite(self._method.params.sum(1)))
        if len(astray):
            also = "" if len(astray) == 1 else f" and of {len(astray) - 1} others"
            gamma = " or gamma" if self._section.gamma is not None else ""
            raise UserError(
                f"round {self._round}: the weights of peer {astray[0]}{also} are no longer finite "
                f"numbers; lower {rate_of(self._section)}{gamma}"
            )

    def _measured(self, at: str) -> dict[str, float]:
        """Accuracies and disagreement, `at` a point of the round."""
        params = self._method.params
        figures = {f"disagreement{at}": disagreement(params)}
        found = self._learners.accuracies(params, self._round)
        if found is None:
            return figures
        whole = self._schedule.topology.whole(max(1, self._round))
        self._table.see(self._round, at, found, self._learners.sizes, whole)
        return spread(found, f"accuracy{at}") | figures

    def _report(self, figures: Mapping[str, float]) -> None:
        self.metrics = dict(figures)
        self._run.report(self._round, figures)

    def _tables(self) -> dict[str, bytes]:
        return {PEERS: self._table.encode()} if self._table.seen else {}

    def _first(self) -> Rows:
        """The vectors to begin with; notes what it has cost to agree on them."""
        params = self._learners.first()
        if self._section.start != "max-norm":
            return params
        graph = self._schedule.topology.whole()
        params, rounds = max_norm_sync(params, graph)
        text = f"all have the longest vector after {rounds} exchanges"
        if not (params == params[0]).all():
            text = f"{rounds} exchanges: every linked part has a longest vector of its own"
        self._run.event("synchronised", text, exchanges=rounds)
        degree = (1 if graph.is_directed() else 2) * graph.number_of_edges() / len(params)
        self._first_figures = {"bytes_per_peer": degree * rounds * params[0].nbytes}
        return params

    def _save(self) -> None:
        arrays = views(self._method.params, self._learners.shapes)
        parts: dict[str, Part] = {
            MODEL: {name: array.numpy().copy() for name, array in arrays.items()},
            PROGRESS: json.dumps({"metrics": self.metrics}).encode(),
            **self._learners.kept(),
        }
        if kept := self._method.kept():
            parts[STATE] = {name: array.copy() for name, array in kept.items()}
        self._run.checkpoint(self._round, parts)
