"""The gate before a real SuperLink, and SuperNodes that reach it there, as in pods."""

import asyncio
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
)
from safetensors.numpy import load

from covey.federation.certificates import Certificates, make_certificates, make_node_key
from covey.federation.fleet_gate import FleetGate, in_background, let_in, read_keys
from covey.federation.superlink import SuperLink, free_port
from covey.federation.superlink_internals import Control, Place
from covey.platform.errors import UserError

LIMIT_S = 300.0
"""Only ends a test that has failed."""


class Gated(NamedTuple):
    """A SuperLink, the gate before it, and the keys of two sites."""

    superlink: SuperLink
    gate: Place
    certificates: Certificates
    folder: Path


def wait_until(holds: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    end = time.monotonic() + LIMIT_S
    while not holds():
        assert process is None or process.poll() is None, "it has ended"
        assert time.monotonic() < end
        time.sleep(0.05)


def answers(place: Place) -> bool:
    host, _, port = place.address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    folder = tmp_path_factory.mktemp("gated")
    certificates = make_certificates(folder)
    sites = folder / "sites"
    sites.mkdir()
    for name in ("north", "south"):
        (sites / name).write_bytes(make_node_key(folder / f"{name}.key"))
    (sites / "..data").mkdir()  # as a ConfigMap's volume has it
    superlink = SuperLink(folder, certificates, None, secrets.token_bytes(32))
    port = free_port()
    command = [sys.executable, "-m", "covey.federation.fleet_gate"]
    command += [f"--superlink={superlink.address}", f"--port={port}", "--host=127.0.0.1"]
    command += [f"--root={certificates.root}", f"--certificate={certificates.certificate}"]
    command += [f"--key={certificates.key}", f"--sites={sites}"]
    with (folder / "gate.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        superlink.wait(LIMIT_S)
        gate = Place(f"127.0.0.1:{port}", certificates.root)
        wait_until(lambda: answers(gate), process)
        yield Gated(superlink, gate, certificates, folder)
    finally:
        process.terminate()
        process.wait()
        superlink.end()


def test_sites_are_let_in(gated):
    wanted = set(read_keys(gated.folder / "sites"))
    assert len(wanted) == 2
    control = Control(gated.superlink.place)
    wait_until(lambda: control.known_keys() >= wanted)
    control.close()
    assert let_in(gated.superlink.place, sorted(wanted)) == ""  # known: nothing to do


def test_the_gate_refuses_all_but_supernodes(gated):
    control = Control(gated.gate)
    with pytest.raises(httpx.HTTPStatusError, match="403"):
        control.start_run(b"an app", {})
    control.close()
    with httpx.Client(verify=gated.gate.trust, trust_env=False) as client:
        for path in (
            "/health",
            "/v1/runtime/acquire-task",
            "/v1/control/start-run",
            "/v1/fleet/%2e%2e/control/start-run",
            "/v1/fleet/..%2fcontrol/start-run",
            "/v1/fleet/",
            "//v1/fleet/get-run",
        ):
            answer = client.post(f"https://{gated.gate.address}{path}", content=b"x")
            assert (answer.status_code, answer.text) == (403, "this port is for SuperNodes"), path
        # What is passed on is refused by the SuperLink itself: it has no key to show.
        url = f"https://{gated.gate.address}/v1/fleet/pull-messages"
        answer = client.post(url, headers={"content-type": "application/protobuf"})
        assert answer.status_code in (400, 401, 403) and "this port" not in answer.text


def test_a_superlink_that_begins_anew_is_told_the_keys_again(tmp_path, gated):
    port = free_port()
    place = Place(f"127.0.0.1:{port}", gated.certificates.root)
    keys = read_keys(gated.folder / "sites")
    gate = FleetGate(place, keys)

    def all_known() -> bool:
        control = Control(place)
        known = control.known_keys()
        control.close()
        return known == set(keys)

    async def two_superlinks() -> None:
        async with in_background(gate.tell_keys(0.1)):
            for number in range(2):
                folder = tmp_path / str(number)
                folder.mkdir()
                superlink = SuperLink(folder, gated.certificates, port, secrets.token_bytes(32))
                try:
                    await asyncio.to_thread(superlink.wait, LIMIT_S)
                    await asyncio.to_thread(wait_until, all_known)
                finally:
                    superlink.end()

    asyncio.run(two_superlinks())


def test_a_superlink_that_is_away_is_told(tmp_path):
    certificates = make_certificates(tmp_path)
    nowhere = Place(f"127.0.0.1:{free_port()}", certificates.root)
    assert let_in(nowhere, [b"key"]).startswith("SuperNodes are not let in yet: ")
    gate = FleetGate(nowhere, [])

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=gate)
        async with httpx.AsyncClient(transport=transport, base_url="https://gate") as client:
            return await client.post("/v1/fleet/get-run", content=b"x")

    answer = asyncio.run(ask())
    assert answer.status_code == 502 and answer.text.startswith("the SuperLink: ")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no public keys"):
        read_keys(tmp_path / "empty")


@pytest.mark.slow
def test_a_federation_through_the_gate(gated, train, tmp_path):
    inline = train("selfseeded", clients=2, rounds=2, federated={"run_config": {"fraction": 1.0}})
    nodes = []
    try:
        for client, name in enumerate(("north", "south")):
            command = [sys.executable, "-m", "covey.federation.site"]
            command += [f"--superlink={gated.gate.address}", f"--root={gated.certificates.root}"]
            command += [f"--key={gated.folder / name}.key", f"--client={client}", "--clients=2"]
            command += [f"--port={free_port()}", f"--folder={tmp_path / name}"]
            nodes.append(subprocess.Popen(command, start_new_session=True))
        superlink = {
            "address": gated.superlink.address,
            "root_certificates": str(gated.certificates.root),
            "superexec_secret": str(gated.folder / "superexec.secret"),
        }
        federated = {
            "engine": "superlink",
            "superlink": superlink,
            "run_config": {"fraction": 1.0},
        }
        remote = train("selfseeded", clients=2, rounds=2, federated=federated)
    finally:
        for node in nodes:
            os.killpg(node.pid, 9)
            node.wait()
    assert remote.result["state"] == "succeeded"
    assert [line["clients"] for line in remote.metrics] == [2, 2]
    ours, theirs = load(remote.model), load(inline.model)
    assert ours.keys() == theirs.keys()
    assert all(np.abs(ours[name] - theirs[name]).max() <= 1e-6 for name in ours)


def test_a_sites_public_key_is_that_of_its_private_one(tmp_path):
    public = make_node_key(tmp_path / "node.key")
    private = load_ssh_private_key((tmp_path / "node.key").read_bytes(), None)
    assert (
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) == public
    )
