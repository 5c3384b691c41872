"""A `flower-superlink` of the job's own, on loopback, over TLS, with SuperNode authentication."""

import socket
import sysconfig
import time
from pathlib import Path

import httpx

from covey.federation.certificates import LOOPBACK, Certificates, write_private
from covey.federation.leash import Leashed
from covey.federation.superlink_internals import Place
from covey.platform.environment import flower_environment
from covey.platform.errors import UserError

POLL_S = 0.1
CACHE = "bytecode"
"""The folder that Python may use for Flower's processes, in the one that they all share."""


class FlowerProcessEnded(Exception):
    """A process of Flower's that a run cannot do without has ended."""


def flower_command(name: str) -> str:
    """The path of one of Flower's commands; whoever calls `covey` need not have it on its PATH."""
    return str(Path(sysconfig.get_path("scripts"), name))


def tls_options(certificates: Certificates) -> list[str]:
    """How SuperLinks and SuperNodes are told what to show to those who connect to them."""
    return [
        f"--ssl-ca-certfile={certificates.root}",
        f"--ssl-certfile={certificates.certificate}",
        f"--ssl-keyfile={certificates.key}",
    ]


class SuperLink:
    """A running SuperLink. Its state is in memory: a run that goes on begins with a new one."""

    def __init__(
        self, folder: Path, certificates: Certificates, port: int | None, secret: bytes
    ) -> None:
        if port is not None and not is_free(port):
            raise UserError(
                f"federated.superlink.port: {port} is taken on {LOOPBACK}; name another, or none "
                "for a free one"
            )
        self.address = f"{LOOPBACK}:{port or free_port()}"
        self.place = Place(self.address, certificates.root)
        write_private(folder / "superexec.secret", secret)
        command = [
            flower_command("flower-superlink"),
            f"--host={LOOPBACK}",
            f"--port={self.address.rpartition(':')[2]}",
            "--isolation=process",
            "--enable-supernode-auth",
            f"--superexec-auth-secret-file={folder / 'superexec.secret'}",
            *tls_options(certificates),
        ]
        environment = flower_environment(folder, folder / CACHE)
        self._process = Leashed(command, folder / "superlink.log", environment)

    def wait(self, wait_s: float) -> None:
        """Until it answers; UserError when that takes longer."""
        end = time.monotonic() + wait_s
        while not answers(self.place):
            self.check()
            if time.monotonic() > end:
                raise UserError(
                    f"the SuperLink has not answered in {wait_s:g} s (federated.superlink.wait_s); "
                    f"see {self.log}"
                )
            time.sleep(POLL_S)

    @property
    def log(self) -> Path:
        """What it says."""
        return self._process.log

    def check(self) -> None:
        """FlowerProcessEnded when it no longer runs."""
        if self._process.ended:
            raise FlowerProcessEnded(f"flower-superlink ended: {last_words(self.log)}")

    def end(self) -> None:
        """Kill it."""
        self._process.end()


def wait_for(place: Place, wait_s: float) -> None:
    """Until a SuperLink answers there; UserError when that takes longer."""
    end = time.monotonic() + wait_s
    while not answers(place):
        if time.monotonic() > end:
            raise UserError(
                f"no run can be had of {place.address}: nobody has answered there in {wait_s:g} s "
                "(federated.superlink.wait_s)"
            )
        time.sleep(POLL_S)


def answers(place: Place) -> bool:
    """Whether a SuperLink is there; UserError for one with another certificate."""
    try:
        httpx.get(f"https://{place.address}/health", verify=place.trust, trust_env=False)
    except httpx.TransportError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise UserError(
                "federated.superlink.certificate: root_certificates do not vouch for it on "
                f"{place.address.rpartition(':')[0]}: {error}"
            ) from None
        return False
    return True


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Whether one could listen on the port of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the SuperLink does
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def last_words(log: Path) -> str:
    """What a process of Flower's gave as the reason of its end, else its last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    for place in range(len(lines) - 1, -1, -1):
        if "Exit Code:" in lines[place]:
            return " ".join(lines[place + 1 : place + 3])
    return lines[-1] if lines else "it said nothing"
