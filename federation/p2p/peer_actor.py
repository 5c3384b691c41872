"""One of a job's peers in a process of its own: what a Ray actor of engine `grpc` runs.

Ray starts it, places it and watches it; peers speak to each other over gRPC alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from covey.platform.driver import AttemptEnd, run_attempt
from covey.platform.environment import silence_grpc, threads_give_way
from covey.platform.ray_start import held_port
from covey.platform.runs.run import Run
from covey.platform.runtime.ray_cluster import node_address

if TYPE_CHECKING:
    from covey.federation.p2p.peer_config import PeerConfig


class PeerActor:
    """Answers calls in threads, so that it can be told to stop while it trains."""

    def __init__(self) -> None:
        silence_grpc()
        threads_give_way()
        self._held = held_port()
        self._running: Run | None = None
        self._stop_requested = False

    def address(self) -> tuple[str, int]:
        """The node's, and a port there that is kept free for this peer until it runs."""
        return node_address(), self._held.getsockname()[1]

    def run(self, config: Path, ray_address: str) -> AttemptEnd:
        """What `covey peer` does with the peer's file. UserError where it cannot begin."""
        from covey.federation.p2p.peer_run import open_peer

        loaded, _ = open_peer(config, supersede=True)  # one of a job that was killed just now
        self._held.close()
        path = Path(loaded.run_dir)
        return run_attempt(path, ray_address=ray_address, work=lambda run: self._train(run, loaded))

    def stop(self) -> None:
        """Let it end after its round, with a checkpoint."""
        self._stop_requested = True
        if self._running is not None:
            self._running.request_stop()

    def _train(self, run: Run, config: "PeerConfig") -> Mapping[str, float]:
        from covey.federation.p2p.peer_run import run_peer

        self._running = run
        if self._stop_requested:
            run.request_stop()
        return run_peer(run, config)
