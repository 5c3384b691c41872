"""What Flower keeps to itself of its SuperLink; the other file of that kind is flower_internals.

A ServerApp's process is told by a SuperExec which task is its own, and then speaks the Runtime API.
Here the job takes the SuperExec's place: it starts a run with the Control API, takes the run's
ServerApp task, and carries messages with Flower's own `HttpGrid`.
`tests/federation/test_superlink_internals.py` fails, and names the thing, when a new version of
Flower has moved one of these.
"""

import hashlib
import os
import re
import signal
import ssl
import threading
import warnings
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import NoReturn

import httpx
from flwr.app import Message
from flwr.app.message import make_message
from flwr.cli.build import build_fab_from_disk
from flwr.common.constant import SubStatus
from flwr.common.serde import fab_to_proto, run_from_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullTaskInputRequest,
    PushTaskOutputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.constant import TASK_TOKEN_HEADER, TaskType
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.date import now
from flwr.supercore.error import FlowerError
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import SuperExecAuthHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from flwr.supercore.retry import RetryInvoker, exponential
from flwr.supercore.run import Run as FlowerRun
from flwr.supercore.run import RunNotRunningException
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.runtime_version_compatibility import RuntimeVersionMetadata
from flwr.supercore.superexec.executor import LaunchResult
from flwr.supercore.superexec.executor.subprocess_executor import SubprocessExecutor
from flwr.supercore.superexec.executor.types import ExecutionSpec
from flwr.supercore.superexec.run_superexec import run_superexec
from flwr.superlink.grid import HttpGrid
from flwr.supernode.runtime.run_clientapp import run_clientapp

from covey.federation.app_folder import ConfigValue
from covey.platform.errors import UserError

ACQUIRE_TASK = "/flwr.proto.Runtime/AcquireTask"
FLEET = re.compile(rb"/v1/fleet/[a-z-]+")
"""The paths that SuperNodes ask for."""
HEARTBEAT_S = 10.0
"""A SuperLink gives a task up that it has not heard of for 60 s."""
RETRY_S = 30.0
"""How long a SuperLink may be out of reach."""

__all__ = ["Control", "Place", "RunNotRunningException", "ServerTask", "fab_of", "why"]


class Place:
    """Where a SuperLink is, by host:port, and the root that signed its certificate (None: one that
    the system trusts).
    """

    def __init__(self, address: str, root: Path | None) -> None:
        self.address = address
        try:
            self.trust = ssl.create_default_context(cafile=root)
            self.root = root.read_bytes() if root else None
        except OSError as error:  # SSLError is one
            raise UserError(
                f"federated.superlink.root_certificates: {root} holds no certificate: {error}"
            ) from None


class _Headers:
    """Says with each request which Flower this is, and who asks.

    Flower's own interceptors would end this process when a SuperLink answers that it is of another
    version.
    """

    def __init__(self, component: str, more: Mapping[str, str] | None = None) -> None:
        metadata = RuntimeVersionMetadata.from_local_component(component).as_metadata()
        self._headers = {**dict(metadata), **(more or {})}

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        context.request.headers.update(self._headers)
        return call_next(context)


class Control:
    """A SuperLink's Control API: who may take part, and what is run."""

    def __init__(self, place: Place) -> None:
        self._client = ControlHttpClient.from_server_address(
            place.address, False, place.root, [_Headers("flwr CLI")]
        )

    def register(self, public_key: bytes) -> int:
        """Let the SuperNode with that key (PEM) in; returns its node id."""
        return int(self._client.RegisterNode(RegisterNodeRequest(public_key=public_key)).node_id)

    def known_keys(self) -> set[bytes]:
        """The keys (PEM) of the SuperNodes that are let in."""
        nodes = self._client.ListNodes(ListNodesRequest()).nodes_info
        return {node.public_key for node in nodes if node.status != "unregistered"}

    def unregister(self, node_id: int) -> None:
        """Turn a SuperNode away from now on."""
        self._client.UnregisterNode(UnregisterNodeRequest(node_id=node_id))

    def start_run(self, fab: bytes, config: Mapping[str, ConfigValue]) -> int:
        """Start a run of the packed app; returns its id."""
        proto = fab_to_proto(Fab(hashlib.sha256(fab).hexdigest(), fab, {}))
        override = user_config_to_proto(dict(config))
        return int(
            self._client.StartRun(StartRunRequest(fab=proto, override_config=override)).run_id
        )

    def stop_run(self, run_id: int) -> None:
        """End a run that nobody has finished."""
        self._client.StopRun(StopRunRequest(run_id=run_id))

    def close(self) -> None:
        """End the connection."""
        self._client.close()


class ServerTask:
    """The ServerApp of a run, as the SuperLink sees it: this process. It stays alive by
    heartbeats until `finish`.
    """

    def __init__(self, place: Place, token: str) -> None:
        self._client = RuntimeHttpClient.from_server_address(
            place.address,
            False,
            place.root,
            [_Headers("flwr-serverapp", {TASK_TOKEN_HEADER: token})],
            retry_invoker=_patience(),
        )
        self._grid = HttpGrid(place.address, False, place.root, token=token)
        self._grid._client = self._client
        self.run: FlowerRun = run_from_proto(self._client.PullTaskInput(PullTaskInputRequest()).run)
        self._grid.set_run(self.run)
        self._finished = threading.Event()
        # Not Flower's own sender: it draws from `random`, and would change which clients a strategy
        # samples.
        threading.Thread(target=self._stay_alive, daemon=True).start()

    @classmethod
    def acquire(cls, place: Place, secret: bytes | None) -> "ServerTask | None":
        """The ServerApp task that has waited longest, now ours; None if there is none. `secret` is
        what the SuperLink asks of whoever runs tasks.
        """
        methods = {ACQUIRE_TASK}
        guard = SuperExecAuthHttpInterceptor(master_secret=secret or b"", protected_methods=methods)
        client = RuntimeHttpClient.from_server_address(
            place.address, False, place.root, [_Headers("SuperExec"), *([guard] if secret else [])]
        )
        try:
            found = client.AcquireTask(
                AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP])
            )
        finally:
            client.close()
        return cls(place, found.token) if found.token else None

    def nodes(self) -> list[int]:
        """The ids of the SuperNodes that are there now."""
        return sorted(self._grid.get_node_ids())

    def send(self, message: Message, node_id: int) -> str:
        """Send a copy of the message to a SuperNode; returns the id that its reply refers to."""
        letter = letter_to(node_id, self.run.run_id, message)
        sent = list(self._grid.push_messages([letter]))
        if sent and sent[0]:
            return str(sent[0])
        raise ValueError("the SuperLink did not take the message")

    def replies(self, message_ids: Sequence[str]) -> list[Message]:
        """The replies to these messages that have come by now, each once."""
        return list(self._grid.pull_messages(message_ids)) if message_ids else []

    def finish(self, problem: str | None) -> None:
        """Tell the SuperLink how the run ended: well (None), or with a problem."""
        self._finished.set()
        status = SubStatus.FAILED if problem else SubStatus.COMPLETED
        try:
            self._client.PushTaskOutput(
                PushTaskOutputRequest(sub_status=status, details=problem or "")
            )
        except (httpx.HTTPError, RunNotRunningException):
            pass  # it has gone, or has given the run up: it knows
        self._client.close()

    def _stay_alive(self) -> None:
        while not self._finished.wait(HEARTBEAT_S):
            try:
                self._client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
            except (httpx.HTTPError, RuntimeError, RunNotRunningException):
                pass  # whoever waits for replies hears of it


def letter_to(node_id: int, run_id: int, message: Message) -> Message:
    """The message as a SuperLink takes it: for that SuperNode, of that run, written now."""
    metadata = copy(message.metadata)
    metadata.__dict__.update(
        _run_id=run_id,
        _message_id="",
        _dst_node_id=node_id,
        _src_task_id=None,
        _dst_task_id=None,
        _created_at=now().timestamp(),
    )
    content = message.content if message.has_content() else None
    error = message.error if message.has_error() else None
    return make_message(metadata=metadata, content=content, error=error)


def fork_clients(address: str, root: str) -> NoReturn:
    """Be the SuperExec of the SuperNode at host:port: each message is a fork of this process, which
    runs what `flwr-clientapp` runs. Must be the only thread of its process.
    """

    def launch(_executor: SubprocessExecutor, spec: ExecutionSpec) -> LaunchResult:
        if os.fork() == 0:
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                certificates = Path(root).read_bytes()
                run_clientapp(spec.runtime_api_address, spec.token, False, certificates)
            finally:
                os._exit(0)  # the rest of this process is its parent's
        return LaunchResult.accepted()

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the dead
    SubprocessExecutor.launch = launch  # type: ignore[method-assign, assignment]
    run_superexec(address, False, root)
    raise AssertionError("it never ends by itself")


def fab_of(folder: Path) -> bytes:
    """The app in a folder as Flower sends it to SuperNodes; ValueError says why it cannot be."""
    with warnings.catch_warnings():  # Flower calls what pathspec has renamed
        warnings.simplefilter("ignore", DeprecationWarning)
        return build_fab_from_disk(folder)


def why(error: httpx.HTTPError) -> str:
    """What a failed request says, in one line."""
    text = str(error) or type(error).__name__
    if isinstance(error, httpx.HTTPStatusError):
        told = FlowerError.from_json(error.response.text)
        if told is not None:
            text = " ".join(filter(None, (told.message, told.public_details)))
    return " ".join(text.split())


def _patience() -> RetryInvoker:
    """Tries again while nobody answers. Without jitter, which would draw from `random`; Flower's
    own would also end this process when it is refused.
    """
    return RetryInvoker(
        lambda: exponential(max_delay=2),
        httpx.TransportError,
        max_tries=None,
        max_time=RETRY_S,
        jitter=None,
    )
