"""What strategies have in common that stand around another one."""

from collections.abc import Iterable

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from covey.federation.sampling import wrapped


class Wrapping(Strategy):
    """Does as the strategy inside does; what becomes of trained models is for others to say."""

    strategy: Strategy

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The strategy's own messages."""
        return self.strategy.configure_train(server_round, arrays, config, grid)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The strategy's own messages."""
        return self.strategy.configure_evaluate(server_round, arrays, config, grid)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """The strategy's own metrics."""
        return self.strategy.aggregate_evaluate(server_round, replies)

    def summary(self) -> None:
        """Log the strategy's own summary."""
        self.strategy.summary()

    def tables(self) -> dict[str, bytes]:
        """What a run folder should have to show of it, by file name (`*.json`). Draws no random
        numbers: it is asked whenever somebody wants to look.
        """
        return {}


def tables_of(strategy: Strategy) -> dict[str, bytes]:
    """The tables of a strategy and of those it wraps."""
    around = [one for one in wrapped(strategy) if isinstance(one, Wrapping)]
    return {name: table for one in around for name, table in one.tables().items()}
