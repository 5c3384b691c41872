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
from covey.federation.figures import figures_of
from covey.federation.losses import Tell, good, summary, tell_losses
from covey.federation.phases import Phases
from covey.federation.privacy import privacy_figures
from covey.federation.rounds_section import RoundSection
from covey.federation.snapshot import Progress
from covey.federation.start import Start
from covey.federation.wants import wants_of
from covey.platform.errors import UserError
from covey.platform.exit_status import ExitStatus


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
        self._virtual_s = 0.0
        if isinstance(self._strategy, Asynchronous):
            self._strategy.fault_of = faults.of
            self._strategy.choose = sampler.choose

    def run(self, progress: Progress) -> dict[str, float]:
        """Training, then evaluation on clients if the strategy asks for it. Leaves the new model in
        `progress`; returns the round's figures. ClientsFailed after the last attempt.
        """
        number = progress.round
        self._exchange.begin()
        self._virtual_s = 0.0
        replies = self._train(progress)
        with self._phases.of("aggregate"):
            arrays, trained = self._aggregated(number, replies)
        if arrays is not None:
            progress.arrays = progress.result.arrays = arrays
        figures = self._counted(replies) | privacy_figures(self._strategy)
        if trained is not None:
            progress.result.train_metrics_clientapp[number] = trained
            figures |= figures_of(trained, "train_")
        with self._phases.of("evaluate"):
            figures |= self._evaluate(progress)
        traffic = {"bytes_down": self._exchange.bytes_down, "bytes_up": self._exchange.bytes_up}
        return {**figures, **traffic}

    def _aggregated(
        self, number: int, replies: Sequence[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        try:
            return self._strategy.aggregate_train(number, replies)
        except AppExitException as error:
            raise UserError(_cannot(self._strategy, number, error)) from None

    def _train(self, progress: Progress) -> list[Message]:
        """The replies of an attempt with enough good ones; an asynchronous strategy's add up."""
        number, adds_up = progress.round, isinstance(self._strategy, Asynchronous)
        replies: list[Message] = []
        tried: set[int] = set()
        for attempt in range(self._limits.attempts):
            self._sampler.begin(MessageType.TRAIN, number, attempt, tried)
            with self._phases.of("configure"):
                messages = self._configure(progress, replies)
            if self._asks_nobody(messages):
                return replies
            tried |= {message.metadata.dst_node_id for message in messages}
            with self._phases.of("clients"):
                new = self._exchange_with_clients(messages, number, attempt)
            tell_losses(self._tell, f"round {number}", new)
            replies = replies + new if adds_up else new
            if len(good(replies)) >= self._needed:
                return replies
            if not adds_up:
                self._exchange.take_back(new)
            self._say_again(number, attempt, replies)
        tried_text = f"in {self._limits.attempts} attempts" if self._limits.attempts > 1 else ""
        raise ClientsFailed(f"{self._short(number, replies)} {tried_text}".rstrip())

    @property
    def _needed(self) -> int:
        strategy = self._strategy
        if isinstance(strategy, Asynchronous):
            return strategy.buffer
        return self._limits.min_replies

    def _say_again(self, number: int, attempt: int, replies: Sequence[Message]) -> None:
        if attempt + 1 < self._limits.attempts:
            short = self._short(number, replies)
            self._tell("round-again", f"{short}: tried again with other clients", round=number)

    def _short(self, number: int, replies: Sequence[Message]) -> str:
        return (
            f"round {number}: {summary(replies)}; of the {self._needed} replies that it needs "
            + (f"{len(good(replies))} came")
        )

    def _configure(self, progress: Progress, replies: Sequence[Message]) -> list[Message]:
        strategy, grid = self._strategy, self._asked.grid
        number, arrays, config = progress.round, progress.arrays, progress.train_config
        if not isinstance(strategy, Asynchronous):
            return list(strategy.configure_train(number, arrays, config, grid))
        before_s = strategy.clock_s
        messages = strategy.configure_more(number, arrays, config, grid, good(replies))
        self._virtual_s += strategy.clock_s - before_s
        return list(messages)

    def _asks_nobody(self, messages: Sequence[Message]) -> bool:
        """Whether the strategy trains nobody in this round, on purpose. UserError when it asks
        fewer clients than have to reply.
        """
        if isinstance(self._strategy, Asynchronous) or self._sampler.policy == "available":
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
        )
        replies = self._exchange.train(self._asked.grid, messages, terms)
        if not isinstance(self._strategy, Asynchronous):
            self._virtual_s += self._exchange.virtual_s
        return replies

    def _fault_of(self, number: int, attempt: int) -> Callable[[Message], Fault] | None:
        strategy, faults = self._strategy, self._faults
        if not faults.active:
            return None
        if isinstance(strategy, Asynchronous):
            # Delays are on its own clock already; only who gets lost is left.
            lost = strategy.lost
            return lambda message: lost.get(message.metadata.dst_node_id, NO_FAULT)
        return lambda message: faults.of(message.metadata.dst_node_id, number, attempt)

    def _terms(self, trains: bool) -> Terms:
        timeout_s = self._limits.timeout_s or self._asked.timeout
        return Terms(timeout_s, wants_of(self._strategy, trains, self._built_in))

    def _counted(self, replies: Sequence[Message]) -> dict[str, float]:
        """How many clients the new model is made of, and how many were asked in vain."""
        counts: dict[str, float] = {**self._exchange.counts, "clients": len(good(replies))}
        if self._faults.active:
            counts = {"clients_dropped": 0, **counts, "virtual_round_s": self._virtual_s}
        return counts

    def _evaluate(self, progress: Progress) -> dict[str, float]:
        number, strategy, grid = progress.round, self._strategy, self._asked.grid
        self._sampler.begin(MessageType.EVALUATE, number, 0, set())
        order = (number, progress.arrays, progress.evaluate_config, grid)
        messages = strategy.configure_evaluate(*order)
        answers = self._exchange.evaluate(grid, messages, self._terms(trains=False))
        tell_losses(self._tell, f"round {number}, evaluation", answers)
        try:
            evaluated = strategy.aggregate_evaluate(number, answers)
        except AppExitException as error:
            raise UserError(_cannot(strategy, number, error)) from None
        if evaluated is None:
            return {}
        progress.result.evaluate_metrics_clientapp[number] = evaluated
        return figures_of(evaluated, "client_")


def _cannot(strategy: Strategy, number: int, error: AppExitException) -> str:
    return f"round {number}: {type(strategy).__name__} cannot use what the clients sent: {error}"
