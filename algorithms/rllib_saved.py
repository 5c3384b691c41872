"""What a checkpoint of `workload: rllib` holds, and its files.

`model.safetensors` the networks' weights, all that `load_policy` reads; `state.json` the counters
and the spaces; `variables.safetensors` what RLlib's learners keep beside their networks;
`rllib.json` and `rllib.safetensors` RLlib's own state of the algorithm, `replay.json` and
`replay.safetensors` that of its replay buffer. There is no pickle in any of them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from covey.algorithms.progress import Progress
from covey.algorithms.rllib_trainer import TrainerState
from covey.algorithms.rllib_tree import Packed
from covey.platform.runs.checkpoint import Checkpoint, Part
from covey.platform.runtime.spaces import Spaces

MODEL = "model.safetensors"
STATE = "state.json"
VARIABLES = "variables.safetensors"
ALGORITHM = "rllib"
REPLAY = "replay"


@dataclass(frozen=True)
class Restored:
    """What a resumed run goes on from."""

    progress: Progress
    algorithm: Packed
    replay: Packed | None
    variables: dict[str, NDArray[np.generic]]


def parts(spaces: Spaces, progress: Progress, state: TrainerState) -> dict[str, Part]:
    """The files of a checkpoint."""
    record = {"spaces": spaces.to_record(), "progress": progress.to_record()}
    files: dict[str, Part] = {
        MODEL: state.model,
        VARIABLES: state.variables,
        STATE: json.dumps(record, indent=1).encode(),
        **packed_parts(ALGORITHM, state.algorithm),
    }
    if state.replay is not None:
        files |= packed_parts(REPLAY, state.replay)
    return files


def packed_parts(name: str, packed: Packed) -> dict[str, Part]:
    """The two files of a packed state."""
    return {f"{name}.json": packed.tree, f"{name}.safetensors": packed.arrays}


def read(checkpoint: Checkpoint) -> Restored:
    """Everything but the copy of the weights in `model.safetensors`."""
    return Restored(
        progress=Progress.from_record(read_record(checkpoint)["progress"]),
        algorithm=read_packed(checkpoint, ALGORITHM),
        replay=read_packed(checkpoint, REPLAY)
        if (checkpoint.path / f"{REPLAY}.json").exists()
        else None,
        variables=checkpoint.arrays(VARIABLES),
    )


def read_packed(checkpoint: Checkpoint, name: str) -> Packed:
    """The inverse of `packed_parts`."""
    return Packed(checkpoint.read(f"{name}.json"), checkpoint.arrays(f"{name}.safetensors"))


def read_spaces(checkpoint: Checkpoint) -> Spaces:
    """The spaces of the environment that the run was trained on."""
    return Spaces.from_record(read_record(checkpoint)["spaces"])


def read_record(checkpoint: Checkpoint) -> Mapping[str, dict[str, object]]:
    record: Mapping[str, dict[str, object]] = json.loads(checkpoint.read(STATE))
    return record
