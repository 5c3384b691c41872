"""What a checkpoint of `workload: rl` holds, and its files.

`model.safetensors` the networks, `optimizer.safetensors`, `normalizer.safetensors` (float64),
`environments.safetensors` (deterministic mode: actions since each reset; what policies remember of
rows that they rated), `replay.safetensors` (the
rows of a replay buffer), `state.json` everything else.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Self

import numpy as np

from covey.algorithms.learner import LearnerState
from covey.algorithms.tuner import Setting
from covey.platform.runs.checkpoint import Checkpoint, Part
from covey.platform.runtime.fragment import Rows
from covey.platform.runtime.interfaces import Arrays, Record
from covey.platform.runtime.spaces import Spaces
from covey.platform.runtime.stream import Stream, StreamSpec

SamplerState = tuple[Record, Arrays]


@dataclass(frozen=True)
class StreamRows:
    """A copy of what can be read of a replay stream: its ring, or as much of it as was written."""

    steps: int
    written: int
    oldest_row: int
    rows: Rows

    @classmethod
    def of(cls, stream: Stream) -> Self:
        """Those of a stream whose writer is paused."""
        written = stream.rows_written
        part = stream.rows.part(0, min(written, stream.rows.steps))
        copied = Rows(*(getattr(part, f.name).copy() for f in fields(Rows)))
        return cls(stream.spec.steps, written, stream.oldest_row, copied)

    def archive(self, spaces: Spaces, shared: bool) -> Stream:
        """A stream that holds them and is not written any more."""
        # A ring that is full counts its oldest block as the one that is being written.
        full = self.written > self.rows.steps
        blocks = max(3, self.rows.steps // self.steps + (not full))
        columns = self.rows.rewards.shape[1]
        rated = self.rows.td_errors.shape[1] > 0
        spec = StreamSpec(self.steps, blocks, columns, spaces, True, rated)
        stream = Stream.create(spec, shared)
        stream.load(self.rows, self.written, self.oldest_row)
        return stream


@dataclass(frozen=True)
class TrainingState:
    """All that the rest of a training run depends on.

    `rows` are those of the samplers' streams, `archives` of streams of earlier samplers. `lives`
    are those of the sampler that was replaced most often: whoever is new plays other episodes.
    `setting` and `batch_size` (0: none) are what a job that tunes itself has found, `asked` what it
    was to begin with.
    """

    spaces: Spaces
    progress: Record
    learner: LearnerState
    samplers: tuple[SamplerState, ...]
    rows: tuple[StreamRows, ...] = ()
    archives: tuple[StreamRows, ...] = ()
    lives: int = 0
    setting: Setting | None = None
    batch_size: int | None = None
    asked: Setting | None = None

    def fits(self, samplers: int, columns: int, groups: int) -> bool:
        """Whether so many samplers, with so many columns in so many groups each, can go on from
        it.
        """
        return len(self.samplers) == samplers and all(
            len(record["return_so_far"]) == columns
            and len(record["environments"].get("groups", [None])) == groups
            for record, _ in self.samplers
        )


def parts(state: TrainingState) -> dict[str, Part]:
    """The files of a checkpoint."""
    record = {
        "spaces": state.spaces.to_record(),
        "progress": state.progress,
        "learner": state.learner.record,
        "samplers": [record for record, _ in state.samplers],
        "lives": state.lives,
        "setting": state.setting and asdict(state.setting),
        "asked": state.asked and asdict(state.asked),
        "batch_size": state.batch_size,
        "rows": [_place(rows) for rows in state.rows],
        "archives": [_place(rows) for rows in state.archives],
    }
    files: dict[str, Part] = {
        "model.safetensors": state.learner.model,
        "optimizer.safetensors": state.learner.optimizer,
        "normalizer.safetensors": state.learner.normalizer,
        "state.json": json.dumps(record, indent=1).encode(),
        "environments.safetensors": _joined(arrays for _, arrays in state.samplers),
        "replay.safetensors": _joined(
            {f.name: getattr(held.rows, f.name) for f in fields(Rows)}
            for held in state.rows + state.archives
        ),
    }
    return {name: part for name, part in files.items() if part or name == "normalizer.safetensors"}


def read(checkpoint: Checkpoint) -> TrainingState:
    """The inverse of `parts`."""
    record = json.loads(checkpoint.read("state.json"))
    samplers: list[SamplerState] = [(sampler, {}) for sampler in record["samplers"]]
    if "environments.safetensors" in checkpoint:
        _split(checkpoint, "environments.safetensors", [arrays for _, arrays in samplers])
    places = record["rows"] + record["archives"]
    held: list[Arrays] = [{} for _ in places]
    if places:
        _split(checkpoint, "replay.safetensors", held)
    for arrays in held:  # checkpoints from before there were any have none
        arrays.setdefault("td_errors", np.zeros((len(arrays["rewards"]), 0), np.float32))
    rows = tuple(
        StreamRows(**place, rows=Rows(**arrays)) for place, arrays in zip(places, held, strict=True)
    )
    spaces, learner = read_learner(checkpoint)
    return TrainingState(
        spaces=spaces,
        progress=record["progress"],
        learner=learner,
        samplers=tuple(samplers),
        rows=rows[: len(record["rows"])],
        archives=rows[len(record["rows"]) :],
        lives=record["lives"],
        batch_size=record.get("batch_size"),
        **{name: Setting(**record[name]) for name in ("setting", "asked") if record.get(name)},
    )


def read_learner(checkpoint: Checkpoint) -> tuple[Spaces, LearnerState]:
    """The part that a trained policy is made of."""
    record = json.loads(checkpoint.read("state.json"))
    return Spaces.from_record(record["spaces"]), LearnerState(
        model=checkpoint.arrays("model.safetensors"),
        optimizer=checkpoint.arrays("optimizer.safetensors"),
        normalizer=checkpoint.arrays("normalizer.safetensors"),
        record=record["learner"],
    )


def _place(held: StreamRows) -> Record:
    return {"steps": held.steps, "written": held.written, "oldest_row": held.oldest_row}


def _joined(many: Iterable[Arrays]) -> Arrays:
    """The arrays of several under one roof: `0.name`, `1.name`, ..."""
    return {f"{i}.{name}": array for i, arrays in enumerate(many) for name, array in arrays.items()}


def _split(checkpoint: Checkpoint, part: str, into: list[Arrays]) -> None:
    for name, array in checkpoint.arrays(part).items():
        index, _, own = name.partition(".")
        into[int(index)][own] = array
