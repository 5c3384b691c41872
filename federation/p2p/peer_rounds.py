"""The rounds of one real peer: local steps, exchanges with whoever is there, all that is told."""

import json
import time
from collections.abc import Mapping, Sequence

import numpy as np

from covey.federation.p2p.batched import PROGRESS, STATE
from covey.federation.p2p.engine_section import tell_samples
from covey.federation.p2p.learners import MODEL, Learners, rate_of, vectors_in
from covey.federation.p2p.links import Rows
from covey.federation.p2p.measuring import disagreement
from covey.federation.p2p.messages import SAMPLES, Message, stacked
from covey.federation.p2p.peer_fetching import Agreed, far_ahead, fetch_from, reached_by_most
from covey.federation.p2p.peer_mail import WEIGHED, Mail, senders
from covey.federation.p2p.peer_states import State
from covey.federation.p2p.rounds import Schedule, make_method
from covey.federation.p2p.section import PeerSection
from covey.federation.p2p.task import views
from covey.federation.p2p.wire_exchange import VECTOR, Exchange
from covey.platform.errors import UserError
from covey.platform.runs.run import Checkpoint, Part, Run


def agreed_by(section: PeerSection) -> Agreed:
    """The latest round of all, or that of most where some are not to be trusted."""
    return max if section.robust is None else reached_by_most


class PeerRounds:
    """Of one run of one peer. `metrics` are the newest round's, `round` its number."""

    def __init__(
        self,
        run: Run,
        number: int,
        learners: Learners,
        schedule: Schedule,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.round, self.metrics = 0, dict[str, float]()
        self._run, self._number = run, number
        self._section: PeerSection = run.job.section
        self._learners, self._schedule = learners, schedule
        self._counted: dict[str, int] = {}
        self._saved: int | None = None
        if checkpoint is None:
            self.begin_with(learners.first())
            return
        self.begin_with(vectors_in(checkpoint, learners.shapes))
        if STATE in checkpoint:
            self._method.restore(checkpoint.arrays(STATE))
        learners.restore(checkpoint)
        self.round = self._saved = checkpoint.step
        self.metrics = json.loads(checkpoint.read(PROGRESS))["metrics"]

    @property
    def params(self) -> Rows:
        """[1, D]"""
        return self._method.params

    def begin_with(self, params: Rows) -> None:
        """Take these weights [1, D], and forget what the method knew of its neighbours'."""
        links = self._schedule.links(1, self._number)
        self._method = make_method(self._section, params, links, self._run.job.seed)

    def catch_up(
        self, exchange: Exchange, round_: int, names: Sequence[str], patience_s: float
    ) -> None:
        """Go on with a later round, where others are, with the weights of one of those named; with
        its own if a neighbour is not to be trusted, or none of them has any.
        """
        robust = self._section.robust is not None
        fetched = None if robust else fetch_from(exchange, names, patience_s)
        self.round = round_ - 1
        where = f"goes on with round {round_}, where its neighbours are"
        if fetched is None:
            why = "mixing is robust" if robust else "none could be fetched"
            self._run.event("caught_up", f"{where}, with its own weights: {why}")
            return
        name, vector = fetched
        self.begin_with(vector[None])
        self._run.event("caught_up", f"{where}, with the weights of {name}", fetched_from=name)

    def run(self, exchange: Exchange, mail: Mail, patience_s: float) -> None:
        """All rounds up to the job's stop. In the first one the mail may be more patient."""
        if self._saved is None:
            self._report({**self._measured(""), **self._traffic(exchange), **self._samples()})
        while self._run.stop_reason(self.round, self.metrics) is None:
            self.round += 1
            self._one_round(exchange, mail)
            mail.timeout_s = patience_s
            if self._run.checkpoint_due(self.round):
                self._save()
            if ahead := far_ahead(exchange, self.round + 1, agreed_by(self._section)):
                self.catch_up(exchange, *ahead, patience_s)
        if self._saved != self.round:
            self._save()

    def _one_round(self, exchange: Exchange, mail: Mail) -> None:
        began = time.perf_counter()
        due = self.round % self._section.evaluate_every == 0
        due |= self.round == self._run.job.stop.rounds
        self._method.begin()
        losses = self._learners.train(self.params, self.round, self._method.pull())
        figures = {"train_loss": float(losses.mean())} if len(losses) else {}
        figures |= self._measured("_local") if due else {}
        self._check_finite()
        waited = time.perf_counter()
        figures |= self._exchanged(mail)
        figures["exchange_s"] = time.perf_counter() - waited
        exchange.publish(self.round + 1, self.params[0])
        figures |= self._measured("") if due else {}
        figures |= self._traffic(exchange) | self._samples()
        self._report({**figures, "round_s": time.perf_counter() - began})

    def _exchanged(self, mail: Mail) -> dict[str, float]:
        """All exchanges of the round."""
        graph = self._schedule.graph(self.round)
        links = self._schedule.links(self.round, self._number)
        heard, apart = len(senders(graph, self._number)), 0.0
        tell = tell_samples(self._section)
        for step in range(self._method.exchanges):
            own, kind = self._method.send(links, self.round), VECTOR
            if tell:
                own, kind = {**own, SAMPLES: np.array([self._learners.sizes], np.int64)}, WEIGHED
            messages = {self._number: own, **mail.swap(self.round, step, own, graph, kind)}
            if tell:
                self._schedule.weigh({peer: one[SAMPLES].item() for peer, one in messages.items()})
                links = self._schedule.links(self.round, self._number)
            heard = min(heard, len(messages) - 1)
            there = links.only(messages.keys())
            sent: Message = stacked([messages[peer] for peer in there.senders.tolist()])
            apart = disagreement(sent["vector"])
            self._method.receive(sent, there, self.round)
        return {"heard": heard, "disagreement_heard": apart}

    def _check_finite(self) -> None:
        if not np.isfinite(self.params).all():
            raise UserError(
                f"round {self.round}: the weights are no longer finite numbers; lower "
                f"{rate_of(self._section)}"
            )

    def _measured(self, at: str) -> dict[str, float]:
        found = self._learners.accuracies(self.params, self.round)
        return {} if found is None else {f"accuracy{at}": float(found[0])}

    def _samples(self) -> dict[str, float]:
        return {SAMPLES: self._learners.sizes[0]}

    def _traffic(self, exchange: Exchange) -> dict[str, float]:
        """What was sent since the last report, and how many neighbours are in which state."""
        counts = exchange.figures()
        since = {name: value - self._counted.get(name, 0) for name, value in counts.items()}
        self._counted = counts
        states = [neighbour.state for neighbour in exchange.neighbours().values()]
        return {
            "bytes_per_peer": since.get("bytes_sent", 0),
            "messages_per_peer": since.get("messages_sent", 0),
            "refused": since["refused"],
            **{f"neighbours_{state}": states.count(state) for state in State},
        }

    def _report(self, figures: Mapping[str, float]) -> None:
        self.metrics = dict(figures)
        self._run.report(self.round, figures)

    def _save(self) -> None:
        arrays = views(self.params, self._learners.shapes)
        parts: dict[str, Part] = {
            MODEL: {name: array.numpy().copy() for name, array in arrays.items()},
            PROGRESS: json.dumps({"metrics": self.metrics}).encode(),
            **self._learners.kept(),
        }
        if kept := self._method.kept():
            parts[STATE] = {name: array.copy() for name, array in kept.items()}
        self._run.checkpoint(self.round, parts)
        self._saved = self.round
