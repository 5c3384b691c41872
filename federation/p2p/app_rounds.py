"""Peer-to-peer rounds in the place of a Flower app's own: where its ServerApp calls
`Strategy.start`, its peers begin.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from flwr.app import Context, RecordDict
from flwr.serverapp.strategy import Result

from covey.federation.app_folder import imported, read_app_folder
from covey.federation.flower_internals import RUN_ID, SUPERLINK_NODE_ID
from covey.federation.generators import seed_all
from covey.federation.grids import InlineGrid
from covey.federation.job import flower_logs_to, working_folder
from covey.federation.p2p.flower_app import FlowerPeers
from covey.federation.p2p.local_trainers import Work
from covey.federation.p2p.section import PeerSection
from covey.federation.simulated_grid import SimulatedGrid
from covey.federation.start import Start, resumable_start
from covey.platform.errors import UserError
from covey.platform.runs.run import Run


class AppRounds:
    """One run of an app folder, for these of the job's peers."""

    def __init__(self, run: Run, peers: Sequence[int], work: Work) -> None:
        self.called = False
        self._run, self._peers, self._work = run, peers, work
        self._metrics: Mapping[str, float] = {}
        self._grid: SimulatedGrid

    def start(self, asked: Start) -> Result:
        """All rounds. What the ServerApp gets has no arrays: there is no global model."""
        self.called = True
        self._metrics = self._work(FlowerPeers(self._run, self._grid, asked, self._peers))
        result = Result()
        result.arrays = asked.initial_arrays
        return result

    def run(self) -> Mapping[str, float]:
        """Run the ServerApp, which calls `start`. Returns what the work does. UserError if it does
        not call it.
        """
        section: PeerSection = self._run.job.section
        folder = read_app_folder(Path(section.app))
        config = folder.configured(section.run_config)
        with ExitStack() as stack:
            stack.enter_context(flower_logs_to(self._run.path / "flower.log"))
            stack.enter_context(working_folder(self._run.path))
            server_app, client_app = stack.enter_context(imported(folder))
            seed_all(self._run.job.seed, "server")
            self._grid = InlineGrid(
                client_app,
                num_clients=section.peers,
                seed=self._run.job.seed,
                run_config=config,
                clock=None,
            )
            stack.enter_context(resumable_start(self, self._run))
            server_app(self._grid, Context(RUN_ID, SUPERLINK_NODE_ID, {}, RecordDict(), config))
        if not self.called:
            raise UserError(
                f"the ServerApp in {section.app} never called Strategy.start: nothing says with "
                "which weights its peers begin"
            )
        return self._metrics
