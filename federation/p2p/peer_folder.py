"""What `covey peers init` makes: a folder for each peer, whole, to be copied to its machine.

    DIR/root.pem, root.key      the root that signed all certificates; its key stays here
    DIR/peers.yaml              all peers: names, addresses, fingerprints
    DIR/revoked.txt             fingerprints that are no longer good: none at first
    DIR/peer-0/                 peer.yaml, peer.pem, peer.key; copies of those above but root.key

All files can be read by their owner only.
"""

import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from covey.federation.certificates import Authority, write_private
from covey.federation.p2p.peer_files import PeerList, read_model, read_revoked
from covey.federation.p2p.peer_roster import fingerprint
from covey.platform.errors import UserError
from covey.platform.jobfile.nearest import nearest
from covey.platform.jobfile.words import found
from covey.platform.jobfile.yaml_text import write_yaml
from covey.platform.runs.durable import LEFTOVER

REVOKED_HEAD = "# SHA-256 fingerprints of certificates that are no longer good, one a line.\n"


Settings = Callable[[str], Mapping[str, object]]
"""More keys for the `peer.yaml` of the peer with that name."""


def make_folder(
    out: Path, addresses: Sequence[str], settings: Settings = lambda name: {}
) -> PeerList:
    """Keys, certificates and files of as many peers as addresses; there all at once or not at all.

    UserError when something is there already: keys that peers may be using are never replaced.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already; name a folder that is not")
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.absolute().with_name(f".{out.absolute().name}.{secrets.token_hex(4)}{LEFTOVER}")
    beside.mkdir(mode=0o700)
    try:
        listed = _fill(beside, addresses, settings)
        beside.rename(out)  # takes an empty folder's place
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return listed


def _fill(folder: Path, addresses: Sequence[str], settings: Settings) -> PeerList:
    authority = Authority.make("Covey peers")
    root = authority.certificate.public_bytes(Encoding.PEM)
    write_private(folder / "root.pem", root)
    write_private(folder / "root.key", authority.private_key)
    peers = {}
    for number, address in enumerate(addresses):
        name = f"peer-{number}"
        home = folder / name
        home.mkdir(mode=0o700)
        # Others ask for the name and not for the address, so a peer may move.
        certificate, key = authority.issue(name, [x509.DNSName(name)])
        pem = certificate.public_bytes(Encoding.PEM)
        write_private(home / "peer.pem", pem)
        write_private(home / "peer.key", key)
        write_private(home / "root.pem", root)
        write_private(home / "peer.yaml", _config(name, address, settings(name)).encode())
        peers[name] = {"address": address, "fingerprint": fingerprint(pem)}
    listed = {"run": f"peers-{secrets.token_hex(4)}", "peers": peers}
    for home in (folder, *_homes(folder)):
        write_private(home / "peers.yaml", write_yaml(listed).encode())
        write_private(home / "revoked.txt", REVOKED_HEAD.encode())
    return read_model(folder / "peers.yaml", PeerList)


def _config(name: str, address: str, settings: Mapping[str, object]) -> str:
    tls = {"root": "root.pem", "certificate": "peer.pem", "key": "peer.key"}
    files = {"peers": "peers.yaml", "revoked": "revoked.txt", "tls": tls, "run_dir": "run"}
    return write_yaml({"peer": name, "listen": address, **files, **settings})


def revoke(folder: Path, name: str) -> tuple[str, list[Path]]:
    """Add a peer's certificate to every list in the folder; its fingerprint, and the lists."""
    listed = read_model(folder / "peers.yaml", PeerList).peers
    if name not in listed:
        near = nearest(name, listed)
        hint = f"; nearest is {near}" if near else ""
        raise UserError(f"{folder / 'peers.yaml'} lists no peer {found(name)}{hint}")
    shown = listed[name].fingerprint
    files = [home / "revoked.txt" for home in (folder, *_homes(folder))]
    for file in files:
        if shown not in read_revoked(file):
            _replace(file, file.read_text().rstrip("\n") + f"\n{shown}  # {name}\n")
    return shown, files


def _replace(file: Path, text: str) -> None:
    beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}{LEFTOVER}")
    try:
        write_private(beside, text.encode())
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def _homes(folder: Path) -> Iterator[Path]:
    """The peers' own folders; one that was moved to its machine is not here any more."""
    return (file.parent for file in sorted(folder.glob("*/peer.yaml")))
