"""How a job begins, written down, so that everybody begins alike: the first model, who has which
samples, and who trains in which round. With other cohorts a Dirichlet partition's accuracy differs
by many points.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy
from numpy.typing import NDArray

from covey.federation.apps import client_app, server_app
from covey.federation.apps.settings import Settings, run_config_of
from covey.federation.apps.task import partition
from covey.federation.client_runner import FIRST_NODE_ID
from covey.federation.data import load
from covey.federation.flower_internals import (
    RUN_ID,
    SUPERLINK_NODE_ID,
    log_elsewhere,
    replace_start,
)
from covey.federation.generators import preserved, seed_all
from covey.federation.grids import InlineGrid
from covey.platform.jobfile.model import JobFile


def write_opening(job: JobFile, path: Path) -> None:
    """Into an `.npz` file: `model/<name>`, `owner` [N] (the client of each training sample) and
    `cohorts` [rounds, C].
    """
    config: dict[str, Any] = run_config_of(job)
    arrays, cohorts = first_model_and_cohorts(job)
    parts = partition(Settings(**config), job.section.clients)
    owner = np.full(len(load(config["data"]).train_labels), -1, np.int64)
    for client, part in enumerate(parts):
        owner[part.numpy()] = client
    assert (owner >= 0).all(), "samples that no client has"
    model: dict[str, Any] = {f"model/{name}": array.numpy() for name, array in arrays.items()}
    with path.open("wb") as out:
        np.savez(out, owner=owner, cohorts=cohorts, **model)


def first_model_and_cohorts(job: JobFile) -> tuple[ArrayRecord, NDArray[np.int64]]:
    """What the real server sends first, and the clients it asks in each round [rounds, C].

    It runs up to its call of `Strategy.start`; there only the clients are drawn.
    """
    found: list[tuple[ArrayRecord, list[list[int]]]] = []

    def start(
        self: Strategy, grid: Grid, initial_arrays: ArrayRecord, num_rounds: int, **_: Any
    ) -> Result:
        cohorts = []
        for number in range(1, num_rounds + 1):
            asked = self.configure_train(number, initial_arrays, ConfigRecord(), grid)
            cohorts.append([message.metadata.dst_node_id - FIRST_NODE_ID for message in asked])
        found.append((initial_arrays, cohorts))
        return Result()

    config = run_config_of(job)
    grid = InlineGrid(client_app.app, num_clients=job.section.clients, run_config=config)
    undone = [replace_start(start), log_elsewhere(logging.NullHandler())]
    try:
        with preserved():
            seed_all(job.seed, "server")
            server_app.app(grid, Context(RUN_ID, SUPERLINK_NODE_ID, {}, RecordDict(), config))
    finally:
        for undo in undone:
            undo()
    ((arrays, cohorts),) = found
    return arrays, np.array(cohorts, np.int64)
