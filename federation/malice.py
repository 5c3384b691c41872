"""Simulated clients that mean harm: what they send in the place of their models."""

from collections.abc import Sequence

import numpy as np
from flwr.app import ArrayRecord, Message, RecordDict

from covey.federation.flower_internals import reply_to
from covey.federation.numpy_array import NumpyArray, numbers_of
from covey.federation.records import array_record, copy_records, entries_of
from covey.federation.rounds_section import MaliciousSection
from covey.platform.seeds import derive


class Malice:
    """The malicious clients of a job: the same all along, drawn from its seed and the `nodes` that
    there are. What they send depends on that, the node and the occasion, and on nothing else.
    """

    def __init__(self, section: MaliciousSection, seed: int, nodes: Sequence[int]) -> None:
        generator = np.random.default_rng(derive(seed, "malicious"))
        chosen = generator.choice(sorted(nodes), min(section.clients, len(nodes)), replace=False)
        self.nodes: frozenset[int] = frozenset(map(int, chosen))
        self._section, self._seed = section, seed

    def spoilt(self, message: Message, reply: Message, *occasion: int) -> Message:
        """A good reply to a message, and what a malicious client sends instead."""
        node = message.metadata.dst_node_id
        if node not in self.nodes:
            return reply
        content = copy_records(reply.content)
        generator = np.random.default_rng(derive(self._seed, "malice", *occasion, node))
        for name, record in reply.content.array_records.items():
            received = message.content.array_records.get(name)
            if received is not None:
                content[name] = self._attack(received, record, generator)
        return reply_to(message, RecordDict({**entries_of(content)}))

    def _attack(
        self, received: ArrayRecord, trained: ArrayRecord, generator: np.random.Generator
    ) -> ArrayRecord:
        spoilt = {}
        for name, array in trained.items():
            own = numbers_of(array)
            if name in received and own.dtype.kind == "f":
                begun, scale = numbers_of(received[name]), self._section.scale
                if self._section.attack == "sign-flip":
                    own = begun - scale * (own - begun)
                else:
                    own = begun + scale * generator.standard_normal(own.shape)
            spoilt[name] = NumpyArray(np.asarray(own, numbers_of(array).dtype))
        return array_record(spoilt)
