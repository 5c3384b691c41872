"""What a checkpoint of `workload: rllib` holds, and its files.

`model.safetensors` the networks' weights, all that `load_policy` reads; `state.json` the counters
and the spaces; `variables.safetensors` what RLlib's learners keep beside their networks; `rllib--*`
the files of RLlib's own checkpoint, with `--` in the place of each `/`; `replay.pkl` its replay
buffer. The last two hold pickle, which RLlib writes and reads: they are read only to resume the
very run they were written by, after the manifest has vouched for them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from covey.algorithms.progress import Progress
from covey.algorithms.rllib_trainer import TrainerState
from covey.platform.runs.checkpoint import Checkpoint, Part
from covey.platform.runtime.spaces import Spaces

MODEL = "model.safetensors"
STATE = "state.json"
VARIABLES = "variables.safetensors"
REPLAY = "replay.pkl"
PREFIX = "rllib--"
SLASH = "--"


@dataclass(frozen=True)
class Restored:
    """What a resumed run goes on from."""

    progress: Progress
    files: dict[str, bytes]
    replay: bytes | None
    variables: dict[str, NDArray[np.generic]]


def parts(spaces: Spaces, progress: Progress, state: TrainerState) -> dict[str, Part]:
    """The files of a checkpoint."""
    record = {"spaces": spaces.to_record(), "progress": progress.to_record()}
    files: dict[str, Part] = {
        MODEL: state.model,
        VARIABLES: state.variables,
        STATE: json.dumps(record, indent=1).encode(),
        **{flat_name(path): content for path, content in state.files.items()},
    }
    if state.replay is not None:
        files[REPLAY] = state.replay
    return files


def read(checkpoint: Checkpoint) -> Restored:
    """Everything but the copy of the weights in `model.safetensors`."""
    names = [path.name for path in checkpoint.path.iterdir()]
    return Restored(
        progress=Progress.from_record(read_record(checkpoint)["progress"]),
        files={nested_name(n): checkpoint.read(n) for n in names if n.startswith(PREFIX)},
        replay=checkpoint.read(REPLAY) if REPLAY in names else None,
        variables=checkpoint.arrays(VARIABLES),
    )


def read_spaces(checkpoint: Checkpoint) -> Spaces:
    """The spaces of the environment that the run was trained on."""
    return Spaces.from_record(read_record(checkpoint)["spaces"])


def read_record(checkpoint: Checkpoint) -> Mapping[str, dict[str, object]]:
    record: Mapping[str, dict[str, object]] = json.loads(checkpoint.read(STATE))
    return record


def flat_name(path: str) -> str:
    """A path within RLlib's checkpoint as the name of a part. ValueError if it could not be read
    back.
    """
    if SLASH in path:
        raise ValueError(f"{path!r} cannot be a part's name: it holds {SLASH!r}")
    return PREFIX + path.replace("/", SLASH)


def nested_name(part: str) -> str:
    """The inverse of `flat_name`."""
    return part.removeprefix(PREFIX).replace(SLASH, "/")
