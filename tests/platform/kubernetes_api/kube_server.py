"""A stand-in for Kubernetes' API server: real HTTP on loopback, for the official client.

It serves RayJobs (`ray.io/v1`), pods with their logs, events and namespaces: create, get, list,
watch (from a version, with bookmarks, and 410 once the history is gone), replace, merge-patch and
delete, conflicts of names and of versions, the status subresource, and one bearer token. A RayJob
that `covey render --check` would refuse is refused with 422.

What it does not prove: there is no TLS, authorisation by roles, quota, admission webhook, pruning
or defaulting of fields, garbage collection by owner, paging, scheduler, kubelet or real pod here,
and the history is in memory.
"""

import json
import re
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from kube_objects import Object, Objects, Refusal, matches

from covey.platform.kubernetes.checking import check

PATH = re.compile(
    r"/(?:api/v1|apis/ray\.io/v1)/namespaces/(?P<namespace>[^/]+)"
    r"(?:/(?P<resource>rayjobs|pods|events)(?:/(?P<name>[^/]+)(?:/(?P<part>status|log))?)?)?"
)
BOOKMARK_EVERY_S = 0.5


class ApiServer:
    """The server. `asked` counts requests by (verb, resource), as a role would allow them."""

    def __init__(self, crds: Path | None) -> None:
        self.objects = Objects()
        self.crds = crds
        self.token = "a-token"
        self.namespaces: dict[str, str] = {}
        self.logs: dict[str, Path] = {}
        self.asked: Counter[tuple[str, str]] = Counter()
        self.created: list[str] = []
        #: how many answers to POST are lost on their way, after they took effect
        self.answers_to_lose = 0
        self._epoch = 0
        self._http: _Http | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def listens(self) -> bool:
        return self._http is not None

    def start(self) -> None:
        """Listen, after a stop at the same address."""
        handler = type("Handler", (_Handler,), {"api": self})
        self._http = _Http(("127.0.0.1", self._port), handler)
        self._port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections, and cut those that there are; objects stay."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None
        self.cut_watches()

    def cut_watches(self) -> None:
        """As when a proxy in between restarts."""
        with self.objects.changed:
            self._epoch += 1
            self.objects.changed.notify_all()

    def create(self, resource: str, namespace: str, found: Object) -> Object:
        if resource == "rayjobs":
            faults = check(json.dumps(found), self.crds)
            if faults:
                told = "; ".join(map(str, faults))
                raise Refusal(422, "Invalid", f"RayJob is invalid: {told}")
        made = self.objects.create(resource, namespace, found)
        if resource == "rayjobs":
            self.created.append(made["metadata"]["name"])
        return made

    def events(
        self, resource: str, namespace: str, query: dict[str, str]
    ) -> Iterator[tuple[str, Object]]:
        """Of a watch. Raises ConnectionAbortedError when it is cut."""
        epoch, version = self._epoch, int(query["resourceVersion"])
        end_s = time.monotonic() + float(query.get("timeoutSeconds", 60))
        while time.monotonic() < end_s:
            try:
                changes = list(self.objects.changes(resource, version))
            except Refusal as refusal:
                yield "ERROR", refusal.status
                return
            for change in changes:
                version = change.version
                here = change.found["metadata"]["namespace"] == namespace
                if here and matches(change.found, query.get("labelSelector", "")):
                    yield change.kind, change.found
            with self.objects.changed:
                self.objects.changed.wait(timeout=BOOKMARK_EVERY_S)
            if self._epoch != epoch:
                raise ConnectionAbortedError
            if query.get("allowWatchBookmarks") == "true":
                yield "BOOKMARK", {"metadata": {"resourceVersion": str(version)}}


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is nobody's fault."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    api: ApiServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(self._read)

    def do_POST(self) -> None:
        self._answer(lambda: self.api.create(self.resource, self.namespace, self._body()), "create")

    def do_PUT(self) -> None:
        self._answer(
            lambda: self.api.objects.replace(
                self.resource, self.namespace, self._body(), self.part or ""
            ),
            "update",
        )

    def do_PATCH(self) -> None:
        self._answer(
            lambda: self.api.objects.patch(
                self.resource, self.namespace, self.name, self._body(), self.part or ""
            ),
            "patch",
        )

    def do_DELETE(self) -> None:
        def delete() -> Object:
            uid = (self._body().get("preconditions") or {}).get("uid")
            return self.api.objects.delete(self.resource, self.namespace, self.name, uid)

        self._answer(delete, "delete")

    def log_message(self, *arguments: Any) -> None:
        """Nobody reads it."""

    def _answer(self, act: Any, verb: str = "") -> None:
        try:
            self._understand(verb)
            answer = act()
        except Refusal as refusal:
            self._send(refusal.status["code"], json.dumps(refusal.status).encode())
            return
        if verb == "create" and self.api.answers_to_lose:
            self.api.answers_to_lose -= 1
            self._hang_up()
        elif isinstance(answer, bytes):
            self._send(200, answer, "text/plain")
        elif answer is not None:
            self._send(201 if verb == "create" else 200, json.dumps(answer).encode())

    def _understand(self, verb: str) -> None:
        if self.headers.get("Authorization", "").lower() != f"bearer {self.api.token}":
            raise Refusal(401, "Unauthorized", "Unauthorized")
        parts = urlsplit(self.path)
        found = PATH.fullmatch(parts.path)
        if found is None:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        self.query = dict(parse_qsl(parts.query))
        self.namespace, self.name, self.part = found["namespace"], found["name"], found["part"]
        self.resource = found["resource"] or ""
        if not verb:
            verb = "get" if self.name or not self.resource else "list"
            verb = "watch" if self.query.get("watch") == "true" else verb
        asked = f"{self.resource or 'namespaces'}{f'/{self.part}' if self.part else ''}"
        self.api.asked[verb, asked] += 1
        if self.namespace not in self.api.namespaces:
            raise Refusal(404, "NotFound", f'namespaces "{self.namespace}" not found')

    def _read(self) -> Object | bytes | None:
        api = self.api
        if not self.resource:
            uid = api.namespaces[self.namespace]
            return {"kind": "Namespace", "metadata": {"name": self.namespace, "uid": uid}}
        if self.part == "log":
            lines = api.logs[self.name].read_bytes().splitlines(keepends=True)
            return b"".join(lines[-int(self.query.get("tailLines", len(lines))) :])
        if self.name:
            return api.objects.get(self.resource, self.namespace, self.name)
        if self.query.get("watch") == "true":
            self._stream()
            return None
        selector = self.query.get("labelSelector", "")
        items, version = api.objects.list(self.resource, self.namespace, selector)
        return {"kind": "List", "metadata": {"resourceVersion": str(version)}, "items": items}

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        try:
            for kind, found in self.api.events(self.resource, self.namespace, self.query):
                line = json.dumps({"type": kind, "object": found}).encode() + b"\n"
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
        except ConnectionAbortedError:
            self._hang_up()
        except OSError:
            self.close_connection = True  # the client has gone

    def _body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):  # the client was first
            self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, code: int, body: bytes, kind: str = "application/json") -> None:
        # One answer a connection, so that a server that has stopped answers nobody.
        self.close_connection = True
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
