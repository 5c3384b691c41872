"""The SuperNodes of a job's clients: its own, or those of a SuperLink elsewhere."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from covey.federation.certificates import LOOPBACK, Certificates, make_node_key
from covey.federation.leash import Leashed
from covey.federation.superexec import write_command
from covey.federation.superlink import (
    CACHE,
    FlowerProcessEnded,
    SuperLink,
    flower_command,
    free_port,
    last_words,
    tls_options,
)
from covey.federation.superlink_internals import Control
from covey.platform.environment import flower_environment

Tell = Callable[..., None]
COMMANDS = "commands"
MOST_STARTS = 20
"""A SuperNode that has been started so often would go on like that."""
LOOK_S = 1.0


class SuperNodes(ABC):
    """Which SuperNode stands for which client (0-based)."""

    @abstractmethod
    def node_of(self, client: int) -> int | None:
        """The node id that the client's messages go to; None while there is none."""

    @abstractmethod
    def look(self, online: Callable[[], list[int]]) -> None:
        """Notice who has come and who has gone. Called again and again while replies are awaited;
        `online` asks the SuperLink.
        """


class SuperNodesElsewhere(SuperNodes):
    """Whoever has joined the SuperLink. Client numbers are given in the order of the node ids and
    stay as they are.
    """

    def __init__(self, clients: int) -> None:
        self._clients = clients
        self._nodes: list[int] = []

    def node_of(self, client: int) -> int | None:
        return self._nodes[client] if client < len(self._nodes) else None

    def look(self, online: Callable[[], list[int]]) -> None:
        if len(self._nodes) < self._clients:
            joined = [node for node in online() if node not in self._nodes]
            if len(self._nodes) + len(joined) >= self._clients:
                self._nodes = joined[: self._clients]


class StartedSuperNodes(SuperNodes):
    """One SuperNode a client, each with a key that the SuperLink was told before.

    One that dies is started again, as a new node with a new key: to the SuperLink the old one stays
    online for up to a minute, and its key is no good that long.
    """

    def __init__(
        self,
        folder: Path,
        clients: int,
        superlink: SuperLink,
        certificates: Certificates,
        threads: int,
        libraries: list[str],
        tell: Tell,
    ) -> None:
        self.restarts = 0
        self._folder = folder
        self._clients = clients
        self._superlink = superlink
        self._certificates = certificates
        self._threads = threads
        self._tell = tell
        write_command(folder / COMMANDS, libraries)
        self._control = Control(superlink.place)
        self._nodes: list[int] = []
        self._processes: list[Leashed] = []
        self._online: set[int] = set()
        self._looked = 0.0

    def start(self) -> None:
        """Start all of them; they come online in a few seconds."""
        for client in range(self._clients):
            node, process = self._start(client, 0)
            self._nodes.append(node)
            self._processes.append(process)

    def node_of(self, client: int) -> int | None:
        node = self._nodes[client]
        return node if node in self._online else None

    def look(self, online: Callable[[], list[int]]) -> None:
        self._superlink.check()
        for client, process in enumerate(self._processes):
            if process.ended:
                self._start_again(client, process)
        if not self._online.issuperset(self._nodes) and time.monotonic() > self._looked + LOOK_S:
            self._looked = time.monotonic()
            self._online = set(online())

    def end(self) -> None:
        """Kill all of them."""
        for process in self._processes:
            process.end()
        self._control.close()

    def _start(self, client: int, start: int) -> tuple[int, Leashed]:
        # A folder of its own for each start: one killed while it unpacks the app leaves half of it.
        home = self._folder / f"node-{client}.{start}"
        home.mkdir(mode=0o700)
        node = self._control.register(make_node_key(home / "node.key"))
        command = [
            flower_command("flower-supernode"),
            f"--superlink={self._superlink.address}",
            f"--root-certificates={self._certificates.root}",
            f"--auth-supernode-private-key={home / 'node.key'}",
            f"--node-config=partition-id={client} num-partitions={self._clients}",
            f"--host={LOOPBACK}",
            f"--port={free_port()}",
            *tls_options(self._certificates),  # its SuperExec speaks TLS to it, too
        ]
        log = self._folder / f"node-{client}.log"
        folders = (home, self._folder / CACHE, self._folder / COMMANDS)
        return node, Leashed(command, log, flower_environment(*folders, self._threads))

    def _start_again(self, client: int, process: Leashed) -> None:
        self.restarts += 1
        reason = last_words(process.log)
        if self.restarts >= MOST_STARTS:
            raise FlowerProcessEnded(f"SuperNodes ended {self.restarts} times, last: {reason}")
        self._tell(
            "supernode-restarted",
            f"the SuperNode of client {client} ended and is started again: what the client kept in "
            "its context is lost",
            client=client,
            restarts=self.restarts,
            last_words=reason,
        )
        process.end()
        self._online.discard(self._nodes[client])
        self._control.unregister(self._nodes[client])
        self._nodes[client], self._processes[client] = self._start(client, self.restarts)
