"""What a checkpoint of `workload: rl` holds, and its files.

`model.safetensors` the networks, `optimizer.safetensors`, `normalizer.safetensors` (float64),
`environments.safetensors` (deterministic mode: actions since each reset), `state.json` everything
else.
"""

import json
from dataclasses import dataclass

from covey.algorithms.learner import LearnerState
from covey.algorithms.progress import Progress
from covey.platform.runs.checkpoint import Checkpoint, Part
from covey.platform.runtime.interfaces import Arrays, Record
from covey.platform.runtime.spaces import Spaces

SamplerState = tuple[Record, Arrays]


@dataclass(frozen=True)
class TrainingState:
    """All that the rest of a training run depends on."""

    spaces: Spaces
    progress: Progress
    learner: LearnerState
    samplers: tuple[SamplerState, ...]

    def fits(self, samplers: int, environments: int) -> bool:
        """Whether so many samplers, with so many environments each, can go on from it."""
        return len(self.samplers) == samplers and all(
            len(record["return_so_far"]) == environments for record, _ in self.samplers
        )


def parts(state: TrainingState) -> dict[str, Part]:
    """The files of a checkpoint."""
    record = {
        "spaces": state.spaces.to_record(),
        "progress": state.progress.to_record(),
        "learner": state.learner.record,
        "samplers": [record for record, _ in state.samplers],
    }
    files: dict[str, Part] = {
        "model.safetensors": state.learner.model,
        "optimizer.safetensors": state.learner.optimizer,
        "normalizer.safetensors": state.learner.normalizer,
        "state.json": json.dumps(record, indent=1).encode(),
    }
    environments = {
        f"{index}.{name}": array
        for index, (_, arrays) in enumerate(state.samplers)
        for name, array in arrays.items()
    }
    if environments:
        files["environments.safetensors"] = environments
    return files


def read(checkpoint: Checkpoint) -> TrainingState:
    """The inverse of `parts`."""
    record = json.loads(checkpoint.read("state.json"))
    samplers: list[SamplerState] = [(sampler, {}) for sampler in record["samplers"]]
    if any(sampler["environments"]["replayable"] for sampler in record["samplers"]):
        for name, array in checkpoint.arrays("environments.safetensors").items():
            index, _, own = name.partition(".")
            samplers[int(index)][1][own] = array
    return TrainingState(
        spaces=Spaces.from_record(record["spaces"]),
        progress=Progress.from_record(record["progress"]),
        learner=LearnerState(
            model=checkpoint.arrays("model.safetensors"),
            optimizer=checkpoint.arrays("optimizer.safetensors"),
            normalizer=checkpoint.arrays("normalizer.safetensors"),
            record=record["learner"],
        ),
        samplers=tuple(samplers),
    )
