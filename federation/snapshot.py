"""What a federated checkpoint holds, written and read back.

`model.safetensors` the global arrays · `arrays.json` their order, and byte for byte those that
safetensors does not hold exactly · `strategy.*` the strategy's state · `clients.bin` the clients'
contexts · `server.bin` the server's context, the configs and past metrics · `generators.json` the
server's random generators · `progress.json` the round and its figures, and
the loop's notes. The loop adds `clients.json` and `client_rounds.json`, what each client has done.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Context, RecordDict
from flwr.serverapp.strategy import Result, Strategy

from covey.federation.arrays import load_arrays, save_arrays
from covey.federation.flower_internals import (
    records_from_bytes,
    records_to_bytes,
)
from covey.federation.generators import restore_generators, save_generators
from covey.federation.simulated_grid import SimulatedGrid
from covey.federation.strategy_state import restore_strategy, save_strategy
from covey.platform.runs.run import Checkpoint, Part

ENTRY = struct.Struct("<QQ")  # partition id, length in bytes
HISTORIES = ("train_metrics_clientapp", "evaluate_metrics_clientapp", "evaluate_metrics_serverapp")


@dataclass
class Progress:
    """Where the rounds stand. `metrics` are the figures of the last round, as reported; `notes`
    what else goes into a checkpoint, as JSON.
    """

    arrays: ArrayRecord
    train_config: ConfigRecord
    evaluate_config: ConfigRecord
    round: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    result: Result = field(default_factory=Result)
    notes: dict[str, Any] = field(default_factory=dict)


def save(
    progress: Progress, strategy: Strategy, grid: SimulatedGrid, context: Context
) -> tuple[dict[str, Part], list[str]]:
    """A checkpoint's parts, and the names of what the strategy holds that could not be saved."""
    model, order = save_arrays(progress.arrays)
    saved = save_strategy(strategy)
    figures = {
        "round": progress.round,
        "metrics": progress.metrics,
        "messages": grid.messages_sent,
        "batches": grid.batches_sent,
        "notes": progress.notes,
    }
    parts: dict[str, Part] = {
        "model.safetensors": model,
        "arrays.json": order,
        "strategy.safetensors": saved.arrays,
        "strategy.json": saved.tree,
        "clients.bin": pack_states(grid.states),
        "server.bin": _save_server(progress, context),
        "generators.json": save_generators(),
        "progress.json": json.dumps(figures).encode(),
    }
    return parts, saved.left_out


def restore(
    checkpoint: Checkpoint,
    progress: Progress,
    strategy: Strategy,
    grid: SimulatedGrid,
    context: Context,
) -> None:
    """Put everything into the state that `save` found, the process-wide generators last."""
    progress.arrays = load_arrays(
        checkpoint.arrays("model.safetensors"), checkpoint.read("arrays.json")
    )
    restore_strategy(
        strategy, checkpoint.read("strategy.json"), checkpoint.arrays("strategy.safetensors")
    )
    grid.states = unpack_states(checkpoint.read("clients.bin"))
    figures = json.loads(checkpoint.read("progress.json"))
    progress.round, progress.metrics = figures["round"], figures["metrics"]
    progress.notes = figures["notes"]
    grid.messages_sent, grid.batches_sent = figures["messages"], figures["batches"]
    _restore_server(checkpoint.read("server.bin"), progress, context)
    progress.result.arrays = progress.arrays
    restore_generators(checkpoint.read("generators.json"))


def pack_states(states: Mapping[int, RecordDict]) -> bytes:
    """What clients keep, by their partition ids."""
    return b"".join(_pack(states))


def unpack_states(content: bytes) -> dict[int, RecordDict]:
    """What `pack_states` was given."""
    return dict(_unpack(content))


def _pack(states: Mapping[int, RecordDict]) -> Iterator[bytes]:
    for client in sorted(states):
        content = records_to_bytes(states[client])
        yield ENTRY.pack(client, len(content))
        yield content


def _unpack(content: bytes) -> Iterator[tuple[int, RecordDict]]:
    offset = 0
    while offset < len(content):
        client, size = ENTRY.unpack_from(content, offset)
        offset += ENTRY.size
        yield client, records_from_bytes(content[offset : offset + size])
        offset += size


def _save_server(progress: Progress, context: Context) -> bytes:
    records = RecordDict(
        {"config train": progress.train_config, "config evaluate": progress.evaluate_config}
    )
    for history in HISTORIES:
        for number, metrics in getattr(progress.result, history).items():
            records[f"{history} {number}"] = metrics
    for name, record in context.state.items():
        records[f"state {name}"] = record
    return records_to_bytes(records)


def _restore_server(content: bytes, progress: Progress, context: Context) -> None:
    context.state.clear()
    for key, record in records_from_bytes(content).items():
        kind, _, name = key.partition(" ")
        if kind == "config":
            config = progress.train_config if name == "train" else progress.evaluate_config
            config.clear()
            config.update(record)  # type: ignore[arg-type]
        elif kind == "state":
            context.state[name] = record
        else:
            getattr(progress.result, kind)[int(name)] = record
