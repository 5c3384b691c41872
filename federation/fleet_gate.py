"""The door for SuperNodes: before a SuperLink whose other callers they must not be.

A SuperLink has one port. Whoever reaches it may start runs there, which is code on every SuperNode.
The gate has a port of its own, passes on what SuperNodes send (the Fleet API) and refuses all else;
a firewall or network policy then leaves the SuperLink's port to the job. It also lets SuperNodes
in: it tells the SuperLink their public keys, again and again, for one that was started anew has
forgotten them.

    python -m covey.federation.fleet_gate --superlink 127.0.0.1:9091 --port 9092 --root ca.crt \\
        --certificate tls.crt --key tls.key --sites FOLDER
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from covey.federation.superlink_internals import FLEET, Control, Place, why
from covey.platform.environment import reach_loopback_without_proxy
from covey.platform.errors import UserError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
TELL_S = 5.0
"""Between two times that the SuperLink is told the keys."""
TIMEOUT = httpx.Timeout(60, connect=10)
ITS_OWN = {b"connection", b"host", b"keep-alive", b"te", b"transfer-encoding", b"upgrade"}
"""Headers that hold for one connection only."""


class FleetGate:
    """An ASGI application. Bodies are passed on in pieces, as they come."""

    def __init__(self, place: Place, keys: list[bytes]) -> None:
        self._place = place
        self._keys = keys
        self._client = httpx.AsyncClient(
            base_url=f"https://{place.address}", verify=place.trust, timeout=TIMEOUT
        )

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and FLEET.fullmatch(scope["raw_path"]):
            await self._pass_on(scope, receive, send)
        elif scope["type"] == "http":
            await _answer(send, 403, "this port is for SuperNodes")

    async def _pass_on(self, scope: Message, receive: Receive, send: Send) -> None:
        async def body() -> AsyncIterator[bytes]:
            while True:
                message = await receive()
                yield message.get("body", b"")
                if not message.get("more_body"):
                    return

        path, headers = scope["raw_path"].decode("ascii"), _kept(scope["headers"])
        request = self._client.build_request(scope["method"], path, headers=headers, content=body())
        try:
            answer = await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            await _answer(send, 502, f"the SuperLink: {why(error)}")
            return
        try:
            start = {"type": "http.response.start", "status": answer.status_code}
            await send({**start, "headers": _kept(answer.headers.raw)})
            async for piece in answer.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body"})
        finally:
            await answer.aclose()

    async def _live(self, receive: Receive, send: Send) -> None:
        """From start to end: the time in which the keys are told."""
        async with in_background(self.tell_keys(TELL_S)):
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
        await self._client.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def tell_keys(self, every_s: float) -> None:
        """Again and again, until cancelled."""
        said = ""
        while True:
            try:
                words = await asyncio.to_thread(let_in, self._place, self._keys)
            except Exception as error:  # were this to end, nobody could come in any more
                words = f"SuperNodes are not let in: {type(error).__name__}: {error}"
            if words and words != said:
                print(words, flush=True)
            said = words
            await asyncio.sleep(every_s)


def let_in(place: Place, keys: Sequence[bytes]) -> str:
    """Tell a SuperLink the keys that it does not know; what there is to say of it."""
    control = Control(place)
    try:
        known = control.known_keys()
        nodes = [control.register(key) for key in keys if key not in known]
        return f"let in: {len(nodes)} SuperNodes" if nodes else ""
    except httpx.HTTPError as error:
        return f"SuperNodes are not let in yet: {why(error)}"
    finally:
        control.close()


def _kept(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in headers if name.lower() not in ITS_OWN]


async def _answer(send: Send, status: int, words: str) -> None:
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": words.encode()})


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """With the work going on beside, and cancelled at the end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()


def read_keys(folder: Path) -> list[bytes]:
    """The public keys (PEM) in a folder, hidden files aside; UserError where there are none."""
    files = sorted(file for file in folder.glob("[!.]*") if file.is_file())
    if not files:
        raise UserError(f"--sites {folder}: holds no public keys")
    return [file.read_bytes() for file in files]


def main() -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description="Let SuperNodes reach a SuperLink, and no more.")
    for name in ("superlink", "host"):
        parser.add_argument(f"--{name}", default="127.0.0.1:9091" if name == "superlink" else "")
    parser.add_argument("--port", type=int, default=9092)
    for name in ("root", "certificate", "key", "sites"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    reach_loopback_without_proxy()
    try:
        gate = FleetGate(Place(options.superlink, options.root), read_keys(options.sites))
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    uvicorn.run(
        gate,
        host=options.host or "0.0.0.0",
        port=options.port,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=5,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
