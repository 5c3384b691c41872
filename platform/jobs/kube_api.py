"""Kubernetes' API server, with time limits on every call and errors in our words."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from covey.platform.jobfile.words import one_line
from covey.platform.jobs.kube_access import configured, library
from covey.platform.jobs.launcher import CannotStart, Unreachable
from covey.platform.jobs.output import OUTPUT_BYTES, OUTPUT_LINES, end_of

RayJob = dict[str, Any]
_T = TypeVar("_T")
_KIND = {"group": "ray.io", "version": "v1", "plural": "rayjobs"}
_LIMITS_S = (5.0, 20.0)
"""To connect, and between two pieces of an answer. Less than a scheduler's lease."""
_PAUSE_S = 2.0
"""After a call that took so long in vain the next ones fail at once: a turn makes one for each job,
and must end before the lease does.
"""


class Conflict(Exception):
    """An object of that name is there already."""


class Gone(Exception):
    """The server no longer has the changes since the version that was asked for."""


class _Invalid(Unreachable):
    """The server answers, and refuses what was sent."""


class KubeApi:
    """RayJobs and logs of one namespace. Raises Unreachable; UserError where nothing is set up."""

    def __init__(self, namespace: str, context: str | None = None) -> None:
        self.namespace = namespace
        self._client = library("kubernetes.client")
        configuration, self.in_cluster = configured(self._client, context)
        # The pool's own retries would make a call last far longer than its time limit.
        configuration.retries = False
        configuration.connection_pool_maxsize = 4
        api_client = self._client.ApiClient(configuration)
        self._objects = self._client.CustomObjectsApi(api_client)
        self._core = self._client.CoreV1Api(api_client)
        self._again_s = 0.0

    def namespace_uid(self) -> str | None:
        """What no other namespace has, nor one of that name which is made later; None where there
        is none.
        """
        found = self._ask(
            lambda: self._core.read_namespace(self.namespace, _request_timeout=_LIMITS_S)
        )
        return None if found is None else str(found.metadata.uid)

    def create(self, ray_job: RayJob) -> RayJob:
        """Raises Conflict where one of that name is, CannotStart where the server refuses it."""
        try:
            created = self._ask(
                lambda: self._objects.create_namespaced_custom_object(
                    **self._here(), body=ray_job, field_validation="Strict"
                )
            )
        except _Invalid as error:
            raise CannotStart(f"Kubernetes refuses its RayJob: {error}") from error
        if created is None:
            raise Unreachable(
                f"namespace {self.namespace} or KubeRay's kind RayJob is not in the cluster"
            )
        return dict(created)

    def get(self, name: str) -> RayJob | None:
        """None where there is no such RayJob."""
        return self._ask(
            lambda: self._objects.get_namespaced_custom_object(**self._here(), name=name)
        )

    def ray_jobs(self, selector: str) -> tuple[list[RayJob], str]:
        """All RayJobs with these labels, and the version of the list, from which to `watch`."""
        found = self._ask(
            lambda: self._objects.list_namespaced_custom_object(
                **self._here(), label_selector=selector
            )
        )
        if found is None:
            raise Unreachable("KubeRay's kind RayJob is not in the cluster")
        return found["items"], found["metadata"]["resourceVersion"]

    def watch(self, selector: str, version: str, seconds: int) -> Iterator[tuple[str, RayJob]]:
        """Changes after `version`, as ("ADDED", RayJob), with BOOKMARK where only the version is
        new. Ends after `seconds`; raises Gone where it must be listed again.
        """
        answer = self._open(
            lambda: self._objects.list_namespaced_custom_object(
                **{**self._here(), "_request_timeout": (_LIMITS_S[0], seconds + _LIMITS_S[1])},
                label_selector=selector,
                resource_version=version,
                watch=True,
                allow_watch_bookmarks=True,
                timeout_seconds=seconds,
                _preload_content=False,
            )
        )
        if answer is None:
            raise Unreachable("KubeRay's kind RayJob is not in the cluster")
        return _events(self._pieces(answer))

    def delete(self, name: str, uid: str) -> None:
        """That very RayJob and what belongs to it, unless it is gone."""
        client = self._client
        options = client.V1DeleteOptions(
            preconditions=client.V1Preconditions(uid=uid), propagation_policy="Background"
        )
        try:
            self._ask(
                lambda: self._objects.delete_namespaced_custom_object(
                    **self._here(), name=name, body=options
                )
            )
        except Conflict:
            pass  # another of the same name is there now

    def log(self, name: str) -> str:
        """The last megabyte of what the RayJob's submitter has printed, which is the driver's
        output; empty where it has no pod (any more).
        """
        pods = self._ask(
            lambda: self._core.list_namespaced_pod(
                self.namespace, label_selector=f"job-name={name}", _request_timeout=_LIMITS_S
            )
        )
        if pods is None or not pods.items:
            return ""
        newest = max(pods.items, key=lambda pod: str(pod.metadata.creation_timestamp))
        answer = self._open(
            lambda: self._core.read_namespaced_pod_log(
                newest.metadata.name,
                self.namespace,
                tail_lines=OUTPUT_LINES,
                _preload_content=False,
                _request_timeout=_LIMITS_S,
            )
        )
        if answer is None:
            return ""
        return end_of(self._pieces(answer), OUTPUT_BYTES).decode(errors="replace")

    def _here(self) -> dict[str, Any]:
        return {**_KIND, "namespace": self.namespace, "_request_timeout": _LIMITS_S}

    def _http_error(self) -> type[Exception]:
        error: type[Exception] = library("urllib3").exceptions.HTTPError
        return error

    def _open(self, request: Callable[[], Any]) -> Any:
        """An answer to be read piece by piece, for whose status the library does not look."""

        def checked() -> Any:
            answer = request()
            if answer.status < 300:
                return answer
            body = answer.read().decode(errors="replace")
            answer.release_conn()
            raise self._client.ApiException(status=answer.status, reason=answer.reason, body=body)

        return self._ask(checked)

    def _pieces(self, answer: Any) -> Iterator[bytes]:
        try:
            yield from answer.stream(2**16)
        except (OSError, self._http_error()) as error:
            raise Unreachable(f"Kubernetes' API server: {_words(error)}") from error
        finally:
            # What is left unread is not waited for.
            answer.close()
            answer.release_conn()

    def _ask(self, request: Callable[[], _T]) -> _T | None:
        """The answer; None for what is not there."""
        client = self._client
        if time.monotonic() < self._again_s:
            raise Unreachable("Kubernetes' API server does not answer")
        try:
            return request()
        except client.ApiException as error:
            if error.status == 404:
                return None
            raise _refusal(error.status, _status_message(error)) from error
        except (OSError, self._http_error()) as error:
            if isinstance(error, library("urllib3").exceptions.TimeoutError):
                self._again_s = time.monotonic() + _PAUSE_S
            raise Unreachable(f"Kubernetes' API server: {_words(error)}") from error


def _refusal(status: int, told: str) -> Exception:
    match status:
        case 400 | 422:
            return _Invalid(told)
        case 401:
            return Unreachable("Kubernetes' API server refuses our token")
        case 403:
            return Unreachable(f"Kubernetes' API server does not let us: {told}")
        case 409:
            return Conflict(told)
        case 410:
            return Gone(told)
    return Unreachable(f"Kubernetes' API server: {status} {told}")


def _events(pieces: Iterator[bytes]) -> Iterator[tuple[str, RayJob]]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in filter(None, lines):
            event: Mapping[str, Any] = json.loads(line)
            kind, found = event["type"], event["object"]
            if kind == "ERROR":
                told = one_line(str(found.get("message", "")))
                raise Gone(told) if found.get("code") == 410 else Unreachable(told)
            yield kind, found


def _status_message(error: Any) -> str:
    """What the server's `Status` object says."""
    try:
        told = json.loads(error.body)["message"]
    except (ValueError, KeyError, TypeError):
        told = error.reason
    return one_line(str(told))[:500]


def _words(error: BaseException) -> str:
    return one_line(str(error) or type(error).__name__)[:300]
