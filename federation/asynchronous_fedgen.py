"""FedGen around FedBuff, whose clients train all the time."""

from collections.abc import Iterable, Sequence
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid

from covey.federation.asynchronous import Choose, FaultOf
from covey.federation.faults import Fault
from covey.federation.fedbuff import FedBuff
from covey.federation.fedgen import GENERATOR, FedGen


class AsynchronousFedGen(FedGen):
    """Around a strategy whose clients train from older models: each has the generator of its own
    model's time. See `Asynchronous`.
    """

    def __init__(self, strategy: FedBuff, *more: Any, **options: Any) -> None:
        super().__init__(strategy, *more, **options)
        self.strategy: FedBuff = strategy
        self.sent: dict[int, ArrayRecord] = {}
        """Generators, by the number of updates before them."""

    @property
    def buffer(self) -> int:
        return self.strategy.buffer

    @property
    def clock_s(self) -> float:
        return self.strategy.clock_s

    @property
    def lost(self) -> dict[int, Fault]:
        return self.strategy.lost

    @property
    def fault_of(self) -> FaultOf:
        return self.strategy.fault_of

    @fault_of.setter
    def fault_of(self, value: FaultOf) -> None:
        self.strategy.fault_of = value

    @property
    def choose(self) -> Choose:
        return self.strategy.choose

    @choose.setter
    def choose(self, value: Choose) -> None:
        self.strategy.choose = value

    def configure_more(
        self,
        server_round: int,
        arrays: ArrayRecord,
        config: ConfigRecord,
        grid: Grid,
        good: Sequence[Message],
    ) -> list[Message]:
        """See `Asynchronous`."""
        generator = self.tell(server_round, config)
        if generator is not None:
            self.sent.setdefault(server_round - 1, generator)
        messages = self.strategy.configure_more(server_round, arrays, config, grid, good)
        for message in messages:
            number = message.content.config_records[self.strategy.configrecord_key]["server-round"]
            assert isinstance(number, int)
            if number - 1 in self.sent:
                message.content[GENERATOR] = self.sent[number - 1]
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """As FedGen's; generators that no client in flight has are forgotten."""
        made = super().aggregate_train(server_round, replies)
        self.sent = {
            number: own for number, own in self.sent.items() if number in self.strategy.versions
        }
        return made
