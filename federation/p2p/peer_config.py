"""The file that a peer is started with: who it is, where it listens, whom it trusts."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from covey.federation.p2p.peer_files import Address, PeerName, read_model
from covey.platform.errors import UserError
from covey.platform.jobfile.model import Positive, Section

OTHERS = 0o077
"""The mode bits by which a file's group and all others may read or change it."""


class TlsFiles(Section):
    """PEM files, relative to the peer's file."""

    root: str
    """The certificate that signed those of all peers."""
    certificate: str
    """The peer's own; its common name is the peer's name."""
    key: str
    """Its private key, which nobody else may be able to read."""


class PeerConfig(Section):
    """One peer. Paths are relative to the file; `load_peer_config` makes them absolute."""

    peer: PeerName
    listen: Address
    """HOST:PORT to listen on; the host 0.0.0.0 stands for every interface."""
    peers: str = "peers.yaml"
    """The list of all peers: the run's name, where each is and which certificate it has."""
    revoked: str = "revoked.txt"
    """Fingerprints of certificates that are no longer good, one a line."""
    neighbours: Annotated[tuple[PeerName, ...], Field(min_length=1)] | None = None
    """Those that it takes messages from; every listed peer if null."""
    tls: TlsFiles
    run_dir: str = "run"
    """Where its checkpoints, metrics and events go."""
    job: str | None = None
    """The job file, the same for all peers; `covey peer --job` names another."""
    wait_s: Positive = 60.0
    """How long its neighbours may take to answer when it starts; then it begins without them."""
    timeout_s: Positive = 30.0
    """How long it waits for its neighbours' vectors: for the slowest one's local steps, that is."""


def load_peer_config(path: Path) -> PeerConfig:
    """The checked file, its paths made absolute; UserError in one line for each mistake."""
    config = read_model(path, PeerConfig)
    base = path.absolute().parent
    tls = {name: str(base / value) for name, value in config.tls.model_dump().items()}
    for name, file in tls.items():
        if not Path(file).is_file():
            raise UserError(f"{path}: tls.{name}: no such file: {file}")
    if Path(tls["key"]).stat().st_mode & OTHERS:
        raise UserError(f"{path}: tls.key: others can read it; do chmod 600 {tls['key']}")
    places = {name: str(base / getattr(config, name)) for name in ("peers", "revoked", "run_dir")}
    job = None if config.job is None else str(base / config.job)
    return config.model_copy(update={**places, "job": job, "tls": TlsFiles(**tls)})
