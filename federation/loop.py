"""Our round loop in the place of `Strategy.start`.

The same verbs, but it can stop, save itself and go on. Flower's own loop always begins at round 1.
While a ServerApp runs inside `start.resumable_start`, a call of `strategy.start(...)` comes here
instead, also when a strategy inherits `start`.
"""

from collections.abc import Sequence

from flwr.app import ConfigRecord, Context
from flwr.serverapp.exception import PrivacyBudgetExhausted
from flwr.serverapp.strategy import Result, Strategy

from covey.federation.average import aggregate_arrayrecords
from covey.federation.client_rounds import CLIENT_ROUNDS, ClientRounds
from covey.federation.client_sampling import Sampler
from covey.federation.early_stop import EarlyStop
from covey.federation.exchange import Exchange
from covey.federation.faults import Faults
from covey.federation.figures import figures_of, with_accuracy
from covey.federation.flower_internals import replace_average, replace_sample_nodes
from covey.federation.generators import preserved
from covey.federation.ledger import Ledger
from covey.federation.live_view import LiveView
from covey.federation.malice import Malice
from covey.federation.phases import Phases
from covey.federation.rounds_section import FaultsSection, RoundSection
from covey.federation.sampling import refuse_endless_wait, set_cohort
from covey.federation.section import BUILT_IN_APPS, FederatedSection
from covey.federation.simulated_grid import SimulatedGrid
from covey.federation.snapshot import Progress, restore, save
from covey.federation.start import EvaluateFn, Start
from covey.federation.training_round import TrainingRound
from covey.federation.wrapping import tables_of
from covey.platform.runs.run import Checkpoint, Run

CLIENTS = "clients.json"


class RoundLoop:
    """The rounds of one run. `metrics` are the newest round's figures once `start` was called.

    `samples`: how many each client has, by number, where the server knows it.
    """

    def __init__(
        self,
        run: Run,
        grid: SimulatedGrid,
        context: Context,
        checkpoint: Checkpoint | None,
        cohort: int | None = None,
        evaluate_every: int = 1,
        samples: Sequence[int] | None = None,
    ) -> None:
        section: FederatedSection = run.job.section
        self.called = False
        self.active = False
        self.metrics: dict[str, float] = {}
        self._run = run
        self._grid = grid
        self._context = context
        self._checkpoint = checkpoint
        self._cohort = cohort
        self._evaluate_every = evaluate_every
        self._left_out: set[str] = set()
        self._server_evaluates = True
        strategy = section.strategy
        self._own_models = strategy is not None and strategy.share != "all"
        """Whether all evaluation is the clients', each of which has layers of its own."""
        self._phases = Phases()
        self._ledger = Ledger()
        self._client_rounds = ClientRounds()
        self._live_view = LiveView(run)
        self._early_stop = EarlyStop(section.early_stop)
        self._sampler = Sampler(section.sampling, run.job.seed, self._ledger, samples)

    def start(self, asked: Start) -> Result:
        """All rounds up to the job's stop, beginning after the checkpoint if there is one."""
        self.called = self.active = True
        undo = replace_sample_nodes(self._sampler.sample_nodes)
        undo_average = replace_average(aggregate_arrayrecords)
        try:
            self._server_evaluates = asked.evaluate_fn is not None
            self._check(asked)
            self._client_rounds.admit(list(asked.grid.get_node_ids()))
            progress = Progress(
                asked.initial_arrays,
                asked.train_config or ConfigRecord(),
                asked.evaluate_config or ConfigRecord(),
            )
            if self._checkpoint is not None:
                self._restore(self._checkpoint, progress, asked.strategy)
            asked.strategy.summary()
            self._run.started()
            self._live_view.begin()
            self._rounds(asked, progress, self._limit(asked.num_rounds))
            return progress.result
        finally:
            undo()
            undo_average()
            self.active = False
            self._grid.round = None

    def _check(self, asked: Start) -> None:
        refuse_endless_wait(asked.strategy, len(list(asked.grid.get_node_ids())))
        if self._cohort is not None:
            set_cohort(asked.strategy, self._cohort, self._run.event)
        if asked.grid is not self._grid:
            kind = type(asked.grid).__name__
            self._run.event("own-grid", f"what the app's {kind} keeps is in no checkpoint")

    def _limit(self, asked: int) -> int:
        """The job file decides the number of rounds; without `stop.rounds` the app does."""
        decided = self._run.job.stop.rounds
        if decided is None:
            return asked
        if decided != asked:
            self._run.event(
                "rounds", f"the app asks for {asked} rounds, stop.rounds says {decided}"
            )
        return decided

    def _rounds(self, asked: Start, progress: Progress, limit: int) -> None:
        saved = progress.round if self._checkpoint is not None else None
        self.metrics = progress.metrics
        if saved is None:
            figures = self._evaluate(progress, asked.evaluate_fn)
            self._early_stop.see(0, self._named(figures), evaluated=False)
            self._report(progress, figures)
        one = self._training_round(asked)
        reason = self._stop_reason(progress.round, progress.metrics)
        while reason is None and progress.round < limit:
            progress.round += 1
            try:
                reason = self._round(one, asked.evaluate_fn, progress, limit)
            except PrivacyBudgetExhausted as error:
                progress.round -= 1
                self._run.event("privacy-budget", str(error))
                break
            if self._run.checkpoint_due(progress.round):
                self._save(progress, asked.strategy)
                saved = progress.round
            if reason is None and progress.round < limit:
                self._live_view.look(lambda: self._shown(asked.strategy))
        if saved != progress.round:
            self._save(progress, asked.strategy)

    def _training_round(self, asked: Start) -> TrainingRound:
        section: FederatedSection = self._run.job.section
        # A job that says nothing of rounds and expects no losses fails at once when all clients do.
        lossy = section.faults is not None or self._sampler.policy == "available"
        limits = section.round or RoundSection(attempts=3 if lossy else 1)
        if limits.min_replies is None:
            cohort = section.cohort or section.clients
            least = section.strategy.least(cohort) if section.strategy else 1
            limits = limits.model_copy(update={"min_replies": least})
        faults = Faults(section.faults, self._run.job.seed, limits.virtual_timeout_s)
        exchange = Exchange(self._ledger, self._client_rounds, self._grid)
        built_in = section.app in BUILT_IN_APPS
        more = (exchange, self._phases, self._run.event, built_in, self._own_models)
        malice = self._malice(section.faults, asked)
        return TrainingRound(asked, limits, faults, self._sampler, *more, malice)

    def _malice(self, faults: FaultsSection | None, asked: Start) -> Malice | None:
        if faults is None or faults.malicious is None:
            return None
        malice = Malice(faults.malicious, self._run.job.seed, list(asked.grid.get_node_ids()))
        nodes = sorted(malice.nodes)
        self._run.event("malicious", f"{len(nodes)} clients mean harm", nodes=nodes)
        return malice

    def _round(
        self, one: TrainingRound, evaluate_fn: EvaluateFn | None, progress: Progress, limit: int
    ) -> str | None:
        """A round with all that is reported of it. Returns why it is the last, if it is."""
        self._phases.begin()
        self._client_rounds.begin(progress.round)
        self._grid.round = progress.round
        due = progress.round % self._evaluate_every == 0
        figures = one.run(progress, due or not self._own_models)
        self._tell_unused_policy(progress)
        if due:
            figures |= self._evaluate(progress, evaluate_fn)
        self._early_stop.see(progress.round, self._named(figures), due)
        reason = self._stop_reason(progress.round, self._named(figures))
        if not due and (reason is not None or progress.round >= limit):
            # Not part of the schedule: were the run extended later, it must not have left a trace.
            with preserved():
                figures |= self._evaluate(progress, evaluate_fn)
            figures |= one.evaluate(progress) if self._own_models else {}
            progress.result.evaluate_metrics_serverapp.pop(progress.round, None)
        self._report(progress, {**figures, **self._phases.figures()})
        return reason

    def _stop_reason(self, number: int, metrics: dict[str, float]) -> str | None:
        reason = self._run.stop_reason(number, metrics)
        if reason is None:
            reason = self._run.reason = self._early_stop.reason(number)
        return reason

    def _tell_unused_policy(self, progress: Progress) -> None:
        if self._sampler.policy is not None and not self._sampler.used:
            self._sampler.used = True
            text = (
                "federated.sampling is not used: the strategy does not call Flower's sample_nodes"
            )
            self._run.event("sampling", text, round=progress.round)

    def _evaluate(self, progress: Progress, evaluate_fn: EvaluateFn | None) -> dict[str, float]:
        """The server's own evaluation of the global arrays; empty when the app has none."""
        with self._phases.of("evaluate"):
            metrics = evaluate_fn(progress.round, progress.arrays) if evaluate_fn else None
        if metrics is None:
            return {}
        progress.result.evaluate_metrics_serverapp[progress.round] = metrics
        return figures_of(metrics, "")

    def _named(self, figures: dict[str, float]) -> dict[str, float]:
        return with_accuracy(figures, self._server_evaluates)

    def _report(self, progress: Progress, figures: dict[str, float]) -> None:
        progress.metrics = self.metrics = self._named(figures)
        if figures:
            self._run.report(progress.round, progress.metrics)

    def _restore(self, checkpoint: Checkpoint, progress: Progress, strategy: Strategy) -> None:
        self._ledger.restore(checkpoint.read(CLIENTS))
        self._client_rounds.restore(checkpoint.read(CLIENT_ROUNDS))
        restore(checkpoint, progress, strategy, self._grid, self._context)
        self._early_stop.state = progress.notes["early_stop"]
        self._sampler.position = progress.notes["sampling_position"]

    def _shown(self, strategy: Strategy) -> dict[str, bytes]:
        """The tables of which pictures are drawn."""
        return {CLIENT_ROUNDS: self._client_rounds.encode(), **tables_of(strategy)}

    def _save(self, progress: Progress, strategy: Strategy) -> None:
        progress.notes = {
            "early_stop": self._early_stop.state,
            "sampling_position": self._sampler.position,
        }
        parts, left_out = save(progress, strategy, self._grid, self._context)
        clients, shown = {CLIENTS: self._ledger.encode()}, self._shown(strategy)
        clients |= {CLIENT_ROUNDS: shown[CLIENT_ROUNDS]}
        new = set(left_out) - self._left_out
        if new:
            self._left_out |= new
            self._run.event(
                "not-in-checkpoint",
                f"{type(strategy).__name__} holds what no checkpoint can keep; a resumed run may "
                f"differ: {', '.join(sorted(new))}",
            )
        self._run.checkpoint(progress.round, {**parts, **clients})
        for name, content in {**clients, **shown}.items():
            self._run.table(name, content)
