"""Who the peers are, and who is no longer believed: two files that may change while a peer runs."""

import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Generic, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from covey.federation.p2p.peer_files import PeerEntry, PeerList, read_model, read_revoked
from covey.federation.p2p.wire_refusal import Refused
from covey.platform.errors import UserError

Content = TypeVar("Content")


class Roster:
    """Re-read when a file has changed, which a look at it tells on each call."""

    def __init__(self, peers: Path, revoked: Path, note: Callable[[str, str], None]) -> None:
        """`note(kind, message)` is told when a file has changed; when it cannot be read, the old
        content stays.

        UserError when they cannot be read now.
        """
        self._list = _Watched(peers, lambda path: read_model(path, PeerList), note)
        self._revoked = _Watched(revoked, read_revoked, note)
        self.run = self._list.content().run

    def peers(self) -> Mapping[str, PeerEntry]:
        """All peers by name."""
        return self._list.content().peers

    def is_revoked(self, peer: str) -> bool:
        """Whether a peer is listed with a certificate that is no longer good."""
        entry = self.peers().get(peer)
        return entry is not None and entry.fingerprint in self._revoked.content()

    def check(self, name: str, pem: bytes) -> None:
        """Refused unless the certificate is the one listed for that name, and still good."""
        shown = fingerprint(pem)
        if shown in self._revoked.content():
            raise Refused("revoked", f"its certificate {shown[:16]}… is revoked")
        entry = self.peers().get(name)
        if entry is None:
            raise Refused("unknown-peer", "no such peer is listed")
        if entry.fingerprint != shown:
            raise Refused("other-certificate", f"its certificate {shown[:16]}… is not the listed")


@lru_cache(maxsize=1024)
def fingerprint(pem: bytes) -> str:
    """SHA-256 of a certificate, in hexadecimal digits."""
    return x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()).hex()


class _Watched(Generic[Content]):
    def __init__(
        self, path: Path, read: Callable[[Path], Content], note: Callable[[str, str], None]
    ) -> None:
        self._path = path
        self._read = read
        self._note = note
        self._lock = threading.Lock()
        self._seen = self._look()
        self._content = read(path)

    def content(self) -> Content:
        with self._lock:  # nobody is given the old content while another thread reads the new
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                try:
                    self._content = self._read(self._path)
                    self._note("peer_file", f"{self._path} has changed, and is read again")
                except UserError as error:
                    self._note("peer_file", f"{error}; what it said before still holds")
            return self._content

    def _look(self) -> tuple[int, ...]:
        """What differs when the file has been written or replaced; empty when there is none."""
        try:
            status = self._path.stat()
        except OSError:
            return ()
        return status.st_mtime_ns, status.st_size, status.st_ino
