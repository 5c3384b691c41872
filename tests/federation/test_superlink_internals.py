"""Fails, and names the thing, when a new version of Flower has moved what superlink_internals uses.

That the pieces still work together is shown by test_superlink, with real processes.
"""

import inspect

import httpx
import numpy as np
from flwr.app import ArrayRecord, Message, RecordDict
from flwr.common import constant
from flwr.supercore import telemetry
from flwr.supercore.constant import FLWR_DISABLE_UPDATE_CHECK
from flwr.supercore.superexec import run_superexec
from flwr.superlink.routers.control import router as control
from flwr.superlink.routers.fleet.router import router as fleet

from covey.federation import superlink_internals as internals
from covey.federation.flower_internals import SUPERLINK_NODE_ID, become_server, set_message_id
from covey.federation.numpy_array import NumpyArray
from covey.platform.environment import flower_environment


def test_http_grid_uses_the_client_that_it_is_given():
    grid = internals.HttpGrid("127.0.0.1:1", False, None, token="t")
    grid._client = mine = object()
    assert grid._runtime_client is mine, "HttpGrid no longer keeps its client in _client"


def test_a_letter_is_the_message_under_another_address():
    become_server()
    arrays = ArrayRecord({"w": NumpyArray(np.arange(3.0))})
    message = Message(RecordDict({"arrays": arrays}), 2, "train.deep", ttl=60.0, group_id="7")
    set_message_id(message, "41")
    letter = internals.letter_to(2**63, 2**62, message)
    metadata = letter.metadata
    assert (metadata.run_id, metadata.dst_node_id) == (2**62, 2**63), "Metadata has other fields"
    assert (metadata.message_id, metadata.src_node_id) == ("", SUPERLINK_NODE_ID)
    assert (metadata.message_type, metadata.ttl, metadata.group_id) == ("train.deep", 60.0, "7")
    assert (message.metadata.dst_node_id, message.metadata.message_id) == (2, "41")
    assert len(letter.object_id) == 64, "a message no longer has the hash of what is in it"


def test_flower_still_reads_these_environment_variables(tmp_path):
    environment = flower_environment(tmp_path, tmp_path / "cache")
    for name in (
        constant.FLWR_HOME,
        constant.FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION,
        FLWR_DISABLE_UPDATE_CHECK,
        run_superexec._TASK_POLL_INTERVAL_ENV,
    ):
        assert name in environment, f"Flower now calls it {name}"
    assert hasattr(telemetry, "FLWR_TELEMETRY_ENABLED")


def test_versions_are_told_as_flower_tells_them():
    request = httpx.Request("POST", "https://here/")
    call = internals.ProtobufRequestContext("/x", object(), request)
    headers = internals._Headers("SuperExec", {internals.TASK_TOKEN_HEADER: "t"})
    headers.intercept(call, lambda context: httpx.Response(200))
    assert request.headers["flwr-component-name"] == "SuperExec"
    assert request.headers["flwr-package-version"] and request.headers["flwr-task-token"] == "t"


def test_what_a_refusal_says_is_one_line():
    request = httpx.Request("POST", "https://here/")
    body = '{"code": 1, "detail": "not\\nhere", "extra": "go away"}'
    response = httpx.Response(404, text=body, request=request)
    error = httpx.HTTPStatusError("404", request=request, response=response)
    assert internals.why(error) == "not here go away"
    assert internals.why(httpx.ConnectError("")) == "ConnectError"


def test_a_superexec_launches_clients_as_ours_does():
    parameters = inspect.signature(internals.run_superexec).parameters
    assert list(parameters)[:3] == ["runtime_api_address", "insecure", "root_certificates_path"]
    parameters = inspect.signature(internals.run_clientapp).parameters
    assert list(parameters)[:4] == ["runtime_api_address", "token", "insecure", "certificates"]
    assert {"runtime_api_address", "token"} <= set(internals.ExecutionSpec.__dataclass_fields__)
    executor = run_superexec.get_executor(run_superexec.ExecutorType.SUBPROCESS)
    assert type(executor) is internals.SubprocessExecutor, "SuperExec has another default executor"


def test_supernodes_ask_for_these_paths_and_nobody_else_does():
    paths = [route.path for route in fleet.routes]
    assert len(paths) > 10 and all(internals.FLEET.fullmatch(path.encode()) for path in paths)
    others = [route.path for route in control.routes]
    assert len(others) > 10 and not any(internals.FLEET.match(path.encode()) for path in others)
