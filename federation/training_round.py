"""One round: the strategy's verbs in their order, tried again while too few clients reply."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from flwr.app import ArrayRecord, Message, MessageType, MetricRecord
from flwr.app.exception import AppExitException
from flwr.serverapp.strategy import Strategy

from covey.federation.asynchronous import Asynchronous
from covey.federation.client_sampling import Sampler
from covey.federation.compression import restored
from covey.federation.exchange import Exchange, Terms
from covey.federation.faults import NO_FAULT, Fault, Faults
from covey.federation.figures import figures_of, strategy_figures
from covey.federation.generators import preserved
from covey.federation.losses import Tell, good, summary, tell_losses
from covey.federation.malice import Malice
from covey.federation.metric_gaps import fill_gaps
from covey.federation.phases import Phases
from covey.federation.privacy import forget_release, privacy_figures
from covey.federation.rounds_section import RoundSection
from covey.federation.sampling import wrapped
from covey.federation.snapshot import Progress
from covey.federation.start import Start
from covey.federation.wants import wants_of
from covey.federation.weights import as_precise_as
from covey.platform.errors import UserError
from covey.platform.exit_status import ExitStatus

Aggregated = tuple[ArrayRecord | None, MetricRecord | None]
"""The new model and the clients' metrics."""


class ClientsFailed(UserError):
    """Too few clients replied: nothing was learnt, so going on would only hide it. Another attempt
    at the job may find them well.
    """

    exit_status = ExitStatus.FAILED


class TrainingRound:
    """Runs the rounds of one `start`, one at a time."""

    def __init__(
        self,
        asked: Start,
        limits: RoundSection,
        faults: Faults,
        sampler: Sampler,
        exchange: Exchange,
        phases: Phases,
        tell: Tell,
        built_in: bool = False,
        own_models: bool = False,
        malice: Malice | None = None,
    ) -> None:
        self._asked = asked
        self._strategy = asked.strategy
        self._limits = limits
        self._faults = faults
        self._sampler = sampler
        self._exchange = exchange
        self._phases = phases
        self._tell = tell
        self._built_in = built_in
        self._own_models = own_models
        self._malice = malice
        self._virtual_s = 0.0
        # Once: to look whether something has all that a Protocol names takes its time.
        self._asynchronous = self._strategy if isinstance(self._strategy, Asynchronous) else None
        if self._asynchronous is not None:
            self._asynchronous.fault_of = faults.of
            self._asynchronous.choose = sampler.choose

    def run(self, progress: Progress, evaluates: bool = True) -> dict[str, float]:
        """Training, then evaluation on clients if it is due and the strategy asks for it. Leaves
        the new model in `progress`; returns the round's figures. ClientsFailed after the last
        attempt.
        """
        number = progress.round
        self._exchange.begin()
        self._virtual_s = 0.0
        replies, (arrays, trained) = self._train(progress)
        if arrays is not None:
            arrays = as_precise_as(progress.arrays, arrays)
            progress.arrays = progress.result.arrays = arrays
        figures = self._counted(replies) | privacy_figures(self._strategy)
        figures |= strategy_figures(self._strategy)
        if trained is not None:
            progress.result.train_metrics_clientapp[number] = trained
            figures |= figures_of(trained, "train_")
        if evaluates:
            with self._phases.of("evaluate"):
                figures |= self.evaluate(progress)
        traffic = {"bytes_down": self._exchange.bytes_down, "bytes_up": self._exchange.bytes_up}
        return {**figures, **traffic}

    def _train(self, progress: Progress) -> tuple[list[Message], Aggregated]:
        """The replies of an attempt with enough good ones, and what the strategy has made of them;
        an asynchronous strategy's replies add up.
        """
        number, adds_up = progress.round, self._asynchronous is not None
        replies: list[Message] = []
        tried: set[int] = set()
        why = ""
        for attempt in range(self._limits.attempts):
            self._sampler.begin(MessageType.TRAIN, number, attempt, tried)
            with self._phases.of("configure"):
                messages = self._configure(progress, replies)
            if self._asks_nobody(messages):
                return replies, self._aggregated(number, replies)
            tried |= {message.metadata.dst_node_id for message in messages}
            with self._phases.of("clients"):
                new = self._exchange_with_clients(messages, number, attempt)
            tell_losses(self._tell, f"round {number}", new)
            replies = replies + new if adds_up else new
            why = self._short(number, replies)
            if len(good(replies)) >= self._needed:
                aggregated = self._aggregated(number, replies)
                if not _is_nothing(aggregated):
                    return replies, aggregated
                why = self._unused(number, replies)
            if not adds_up:
                self._exchange.take_back(new)
            forget_release(self._strategy, number)
            if attempt + 1 < self._limits.attempts:
                self._tell("round-again", f"{why}: tried again with other clients", round=number)
        self._give_up(number, why, replies)
        return [], (None, None)

    def _aggregated(self, number: int, replies: Sequence[Message]) -> Aggregated:
        with self._phases.of("aggregate"):
            try:
                return self._strategy.aggregate_train(number, replies)
            except AppExitException as error:
                raise UserError(_cannot(self._strategy, number, error)) from None

    def _give_up(self, number: int, why: str, replies: Sequence[Message]) -> None:
        """After the last attempt: ClientsFailed, unless a round may come to nothing."""
        attempts = self._limits.attempts
        text = f"{why} in {attempts} attempts" if attempts > 1 else why
        nobody_there = self._sampler.policy == "available" and not replies and self._needed == 1
        if nobody_there or (good(replies) and not _is_ours(self._strategy)):
            self._tell("not-trained", f"{text}: the model stays as it was", round=number)
            return
        raise ClientsFailed(text + self._sampler.why_few)

    @property
    def _needed(self) -> int:
        if self._asynchronous is not None:
            return self._asynchronous.buffer
        return self._limits.min_replies or 1

    def _short(self, number: int, replies: Sequence[Message]) -> str:
        return (
            f"round {number}: {summary(replies)}; of the {self._needed} replies that it needs "
            + (f"{len(good(replies))} came")
        )

    def _unused(self, number: int, replies: Sequence[Message]) -> str:
        name = type(self._strategy).__name__
        return f"round {number}: {name} made no model of the {len(good(replies))} replies"

    def _configure(self, progress: Progress, replies: Sequence[Message]) -> list[Message]:
        strategy, grid = self._asynchronous, self._asked.grid
        number, arrays, config = progress.round, progress.arrays, progress.train_config
        if strategy is None:
            return list(self._strategy.configure_train(number, arrays, config, grid))
        before_s = strategy.clock_s
        messages = strategy.configure_more(number, arrays, config, grid, good(replies))
        self._virtual_s += strategy.clock_s - before_s
        return list(messages)

    def _asks_nobody(self, messages: Sequence[Message]) -> bool:
        """Whether the strategy trains nobody in this round, on purpose. UserError when it asks
        fewer clients than have to reply.
        """
        if self._asynchronous is not None or self._sampler.policy == "available":
            return False
        if messages and len(messages) < self._needed:
            raise UserError(
                f"federated.round.min_replies is {self._needed}, but "
                f"{type(self._strategy).__name__} asks {len(messages)} clients in a round: there "
                "can never be enough replies"
            )
        return not messages

    def _exchange_with_clients(
        self, messages: Sequence[Message], number: int, attempt: int
    ) -> list[Message]:
        terms = replace(
            self._terms(trains=True),
            fault_of=self._fault_of(number, attempt),
            restored=partial(restored, self._strategy),
            spoilt=self._spoilt(number, attempt),
        )
        replies = self._exchange.train(self._asked.grid, messages, terms)
        self._fill_gaps(f"round {number}", replies, terms)
        if self._asynchronous is None:
            self._virtual_s += self._exchange.virtual_s
        return replies

    def _fault_of(self, number: int, attempt: int) -> Callable[[Message], Fault] | None:
        faults = self._faults
        if not faults.active:
            return None
        if self._asynchronous is not None:
            # Delays are on its own clock already; only who gets lost is left.
            lost = self._asynchronous.lost
            return lambda message: lost.get(message.metadata.dst_node_id, NO_FAULT)
        return lambda message: faults.of(message.metadata.dst_node_id, number, attempt)

    def _spoilt(self, number: int, attempt: int) -> Callable[[Message, Message], Message] | None:
        malice = self._malice
        if malice is None:
            return None
        return lambda message, reply: malice.spoilt(message, reply, number, attempt)

    def _terms(self, trains: bool) -> Terms:
        timeout_s = self._limits.timeout_s or self._asked.timeout
        return Terms(timeout_s, wants_of(self._strategy, trains, self._built_in))

    def _counted(self, replies: Sequence[Message]) -> dict[str, float]:
        """How many clients the new model is made of, and how many were asked in vain."""
        counts: dict[str, float] = {**self._exchange.counts, "clients": len(good(replies))}
        if self._faults.active:
            counts = {"clients_dropped": 0, **counts, "virtual_round_s": self._virtual_s}
        return counts

    def evaluate(self, progress: Progress) -> dict[str, float]:
        """Evaluation on clients, if the strategy asks for it; the round's figures of it."""
        if not self._own_models:
            return self._evaluated(progress)
        with preserved():  # how often they are measured leaves no trace in what they learn
            return self._evaluated(progress)

    def _evaluated(self, progress: Progress) -> dict[str, float]:
        number, strategy, grid = progress.round, self._strategy, self._asked.grid
        self._sampler.begin(MessageType.EVALUATE, number, 0, set())
        order = (number, progress.arrays, progress.evaluate_config, grid)
        messages = strategy.configure_evaluate(*order)
        terms = self._terms(trains=False)
        answers = self._exchange.evaluate(grid, messages, terms)
        tell_losses(self._tell, f"round {number}, evaluation", answers)
        self._fill_gaps(f"round {number}, evaluation", answers, terms)
        try:
            evaluated = strategy.aggregate_evaluate(number, answers)
        except AppExitException as error:
            raise UserError(_cannot(strategy, number, error)) from None
        if evaluated is None:
            return {}
        progress.result.evaluate_metrics_clientapp[number] = evaluated
        return figures_of(evaluated, "client_")

    def _fill_gaps(self, where: str, replies: Sequence[Message], terms: Terms) -> None:
        if terms.wants.averages or self._built_in:
            fill_gaps(self._tell, where, replies, terms.wants.weight)


def _is_nothing(aggregated: Aggregated) -> bool:
    """Whether a strategy could not use the replies. One that only measures makes metrics."""
    return all(made is None for made in aggregated)


def _is_ours(strategy: Strategy) -> bool:
    """Whether a strategy is Flower's or Covey's: others may mean it when they make no model."""
    makers = [type(inner).aggregate_train.__module__ for inner in wrapped(strategy)]
    return all(maker.split(".")[0] in ("flwr", "covey") for maker in makers)


def _cannot(strategy: Strategy, number: int, error: AppExitException) -> str:
    return f"round {number}: {type(strategy).__name__} cannot use what the clients sent: {error}"
