"""Ray's job server, with time limits on every call and errors in our words.

Importing this imports Ray: call `environment.prepare_libraries` first.
"""

import logging
import shlex
import sys
from collections.abc import Mapping
from typing import Any

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient
from ray.util.state import list_nodes

from covey.platform.environment import covey_home
from covey.platform.errors import UserError
from covey.platform.jobs.admission import Capacity
from covey.platform.jobs.launcher import CannotStart, Phase, Sighting, Start, Unreachable
from covey.platform.jobs.output import OUTPUT_BYTES, OUTPUT_LINES, end_of

for _name in ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # they tell of each package, sent or not

_MOST_NODES = 10_000
"""As many as Ray's state server will list; its own default is the first hundred."""

TOO_LARGE = (
    "a Ray cluster takes no folder of more than 100 MiB: leave data out of the job's code: and app "
    "folders (a .gitignore in them is heeded), and name it on a shared folder"
)

_TIMEOUT_S = 20.0
"""Less than a scheduler's lease; the first submit to a fresh head takes about 5 s."""


class _Client(JobSubmissionClient):
    """Ray's own client waits for ever on a server that accepts a connection and says nothing."""

    def _do_request(self, *args: Any, **kwargs: Any) -> Any:
        return super()._do_request(*args, **{"timeout": _TIMEOUT_S, **kwargs})

    def end_of_log(self, submission_id: str) -> str:
        """The last OUTPUT_BYTES of a driver's log. Ray's own method reads all of it at once."""
        node = self.get_job_info(submission_id).driver_node_id
        chosen = {"submission_id": submission_id, "node_id": node, "lines": OUTPUT_LINES}
        url = f"{self._address}/api/v0/logs/file"
        with requests.get(
            url, chosen, headers=self._headers, stream=True, timeout=_TIMEOUT_S
        ) as answer:
            if answer.status_code != 200:
                raise RuntimeError(f"no log ({answer.status_code}): {answer.text[:300]}")
            return end_of(answer.iter_content(2**16), OUTPUT_BYTES).decode(errors="replace")


class RayApi:
    """The job server at `url`. Raises Unreachable when it is silent, UserError when it refuses."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = _call(url, lambda: _Client(url))

    def session(self) -> str:
        """A name that no other cluster has, nor the next one at the same address."""
        answer = self._ask(lambda: self._client._do_request("GET", "/api/version"))
        return str(answer.json()["session_name"])

    def capacity(self) -> Capacity | None:
        """CPUs and GPUs of all living nodes; None while there is no node yet."""
        nodes = self._ask(
            lambda: list_nodes(
                address=self.url,
                filters=[("state", "=", "ALIVE")],
                limit=_MOST_NODES,
                timeout=10,
                raise_on_missing_output=False,  # it takes dead nodes, filtered out, for missing
            )
        )
        totals = [node.resources_total or {} for node in nodes]
        if not any(totals):
            return None
        cpus = sum(float(total.get("CPU", 0)) for total in totals)
        return Capacity(cpus, sum(float(total.get("GPU", 0)) for total in totals))

    def submit(self, start: Start, more: Mapping[str, object] | None = None) -> None:
        """See `Launcher.submit`: after any error the server is asked whether it knows the id, but
        after its refusal of a package: there was no submit yet.
        `more` of the runtime environment that the driver and its actors get.
        """
        variables = {
            "COVEY_HOME": str(covey_home()),
            "RAY_JOB_STOP_WAIT_TIME_S": str(max(1, round(start.grace_s))),
        }
        try:
            self._client.submit_job(
                entrypoint=entrypoint(start),
                submission_id=start.submission_id,
                runtime_env={"env_vars": variables, **(more or {})},
            )
        except Exception as error:
            if "status code 413" in str(error):
                raise CannotStart(TOO_LARGE) from error
            if self.look(start.submission_id) is None:
                raise Unreachable(_last_line(error)) from error

    def look(self, submission_id: str) -> Sighting | None:
        """See `Launcher.look`."""
        try:
            info = self._ask(lambda: self._client.get_job_info(submission_id))
        except _NotFound:
            return None
        return Sighting(Phase(str(info.status)), info.driver_exit_code, info.message or "")

    def stop(self, submission_id: str) -> None:
        """See `Launcher.stop`."""
        self._ask(lambda: self._client.stop_job(submission_id))

    def output(self, submission_id: str) -> str:
        """See `Launcher.output`; read in pieces, since a log may be larger than our memory."""
        return str(self._ask(lambda: self._client.end_of_log(submission_id)))

    def _ask(self, request: Any) -> Any:
        return _call(self.url, request)


class _NotFound(Unreachable):
    """The server answers, but does not know the id."""


def entrypoint(start: Start) -> str:
    """The driver's command line; `exec` so that signals reach Python and not a shell before it.

    On a cluster of other machines our interpreter may not exist: then that cluster's own. With -P
    no file of the folder that the cluster was started in is taken for a library.
    """
    python = f'"$(command -v {shlex.quote(sys.executable)} || command -v python3)"'
    run_dir = shlex.quote(start.run_dir)
    return f"exec {python} -P -m covey.platform.driver {run_dir} --attempt {start.attempt}"


def resolve(address: str) -> str:
    """The job server's URL for what `--address` gives: a URL, or host:port of job server or GCS."""
    if address.startswith(("http://", "https://")):
        return address.rstrip("/")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise UserError(
            f"--address {address}: write the job server's address, e.g. http://127.0.0.1:8265"
        )
    try:
        requests.get(f"http://{address}/api/version", timeout=5)
        return f"http://{address}"
    except requests.RequestException:
        pass  # not the job server: the GCS of a cluster knows where that is
    return str(_call(address, lambda: _Client(address)).get_address())


def _call(where: str, request: Any) -> Any:
    try:
        return request()
    except AuthenticationError as error:
        raise UserError(
            f"the Ray cluster at {where} refused our token: set RAY_AUTH_TOKEN_PATH to the file "
            "with that cluster's token"
        ) from error
    except Exception as error:
        kind = _NotFound if "status code 404" in str(error) else Unreachable
        raise kind(_last_line(error)) from error


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" .")]
    return (lines[-1] if lines else type(error).__name__)[:300]
