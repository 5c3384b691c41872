"""Run a federated job: its app, our Grid, our loop."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from flwr.app import Context, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from covey.federation.app_folder import ConfigValue, imported, read_app_folder
from covey.federation.data import missing_data
from covey.federation.engines import (
    engine_of,
    enter_working_folder,
    make_grid,
    threads_of_a_client,
)
from covey.federation.flower_internals import RUN_ID, SUPERLINK_NODE_ID, log_elsewhere
from covey.federation.generators import preserved, seed_all
from covey.federation.loop import RoundLoop
from covey.federation.partition_report import report_partition
from covey.federation.partition_table import partition_table
from covey.federation.section import BUILT_IN_APPS, FederatedSection
from covey.federation.simulated_grid import SimulatedGrid
from covey.federation.start import resumable_start
from covey.platform.errors import UserError
from covey.platform.runs.run import STOP_REQUESTED, Run
from covey.platform.runtime.memory import keep_freed_memory
from covey.platform.runtime.ray_cluster import StartInterrupted

SEEDED_NOISE = (
    "a deterministic job draws the noise of differential privacy from its seed: epsilon holds only "
    "against those who do not know it, and its clients do"
)


class StopRequested(BaseException):
    """Leaves a ServerApp that runs a loop of its own. No Exception, lest the app swallow it."""


def run_job(run: Run) -> Mapping[str, float]:
    """Run the job's ServerApp to its end, or up to the job's stop.

    Returns the last round's metrics.
    """
    section: FederatedSection = run.job.section
    if section.data is not None and (reason := missing_data(section.data.source)):
        raise UserError(reason)
    checkpoint = run.restore()
    if section.app in BUILT_IN_APPS:
        report_partition(run, partition_table(run.job))
    with ExitStack() as stack:
        stack.enter_context(flower_logs_to(run.path / "flower.log"))
        stack.enter_context(_threads(run))
        seed_all(run.job.seed, "server")
        if section.differential_privacy is not None and run.job.deterministic:
            run.event("privacy-noise", SEEDED_NOISE)
        server_app, client_app, config = _app(run, stack)
        watch = _Watch(run)
        try:
            with preserved():  # Ray draws numbers while it starts
                grid = make_grid(run, client_app, config, watch, stack, checkpoint is not None)
        except StartInterrupted:
            run.event("stop", run.stop_reason(0, {}) or "")
            return {}
        context = Context(RUN_ID, SUPERLINK_NODE_ID, {}, RecordDict(), config)
        cohort = None if section.app in BUILT_IN_APPS else section.cohort
        samples = _samples(section, context)
        loop = RoundLoop(run, grid, context, checkpoint, cohort, section.evaluate_every, samples)
        watch.loop = loop
        stack.enter_context(resumable_start(loop, run))
        _run_server(run, server_app, grid, context)
    if not loop.called:
        run.event("own-loop", "the ServerApp never called Strategy.start: there are no checkpoints")
    return loop.metrics


def _run_server(run: Run, server_app: ServerApp, grid: SimulatedGrid, context: Context) -> None:
    try:
        server_app(grid, context)
    except StopRequested:
        run.event("own-loop", "stopped on request; the ServerApp's own loop cannot go on from here")


class _Watch:
    """Notices messages that a ServerApp sends before `Strategy.start`: none of that can resume."""

    def __init__(self, run: Run) -> None:
        self.loop: RoundLoop | None = None
        self._run = run
        self._told = False

    def __call__(self) -> None:
        if self.loop is None or self.loop.called:
            return
        if not self._told:
            self._told = True
            self._run.started()
            self._run.event(
                "own-loop",
                "the ServerApp sends messages outside Strategy.start: that part is in no "
                "checkpoint, stop does not count there, and every attempt begins it anew",
            )
        if self._run.stop_reason(0, {}) == STOP_REQUESTED:
            raise StopRequested


def _app(run: Run, stack: ExitStack) -> tuple[ServerApp, ClientApp, dict[str, ConfigValue]]:
    """The server's and the clients' app with their run config."""
    section: FederatedSection = run.job.section
    if section.app in BUILT_IN_APPS:
        from covey.federation.apps import client_app, server_app
        from covey.federation.apps.settings import run_config_of

        return server_app.app, client_app.app, run_config_of(run.job)
    stack.enter_context(working_folder(run.path))
    folder = read_app_folder(Path(section.app))
    server, client = stack.enter_context(imported(folder))
    return server, client, folder.configured(section.run_config)


def _samples(section: FederatedSection, context: Context) -> list[int] | None:
    """How many samples each client has, if clients are drawn by it and the server can know."""
    weighted = section.sampling is not None and section.sampling.policy == "weighted"
    if not weighted or section.app not in BUILT_IN_APPS:
        return None
    from covey.federation.apps.settings import settings_of
    from covey.federation.apps.task import partition

    return [len(part) for part in partition(settings_of(context), section.clients)]


@contextmanager
def flower_logs_to(path: Path) -> Iterator[None]:
    """Flower tells every step of every round: that goes to a file of the run folder."""
    handler = logging.FileHandler(path, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    undo = log_elsewhere(handler)
    try:
        yield
    finally:
        undo()
        handler.close()


@contextmanager
def _threads(run: Run) -> Iterator[None]:
    keep_freed_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(threads_of_a_client(run, engine_of(run.job.section)))
    if run.job.deterministic and torch.cuda.is_available():
        # Only GPUs need it, and it takes seconds: torch imports its compiler to set one flag.
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def working_folder(run_dir: Path) -> Iterator[None]:
    """The process stands where an app may write."""
    before = os.getcwd()
    enter_working_folder(run_dir)
    try:
        yield
    finally:
        os.chdir(before)
