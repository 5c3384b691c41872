"""The peers by name, and the Python that has each: SB3 lives apart, RLlib comes with Covey."""

import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from covey.platform.errors import UserError

PEERS = {"rllib": "RLlib", "sb3": "SB3"}
SCRIPTS = Path(__file__).parent / "peers"


def chosen_peers(names: str, known: Mapping[str, str] = PEERS) -> tuple[str, ...]:
    """The peers named, with commas between them; raises UserError for one that is not known, and
    for one of this file's that is not installed.
    """
    chosen = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if chosen in ((), ("none",)):
        return ()
    for name in chosen:
        if name not in known:
            nearest = get_close_matches(name, known, n=1, cutoff=0)[0]
            raise UserError(
                f"no peer is called {name!r}; known: {', '.join(known)}; nearest: {nearest}"
            )
        if name in PEERS:
            python_of(name)
    return chosen


def python_of(peer: str) -> Path:
    """The interpreter that runs a peer's scripts."""
    if peer == "rllib":
        return Path(sys.executable)
    return peers_python(checkout(), peer)


def checkout() -> Path:
    """The folder with the Makefile: Covey's own, else the one the command is run in."""
    own = Path(__file__).resolve().parents[2]
    return own if (own / "Makefile").exists() else Path.cwd()


def peers_python(folder: Path, peer: str) -> Path:
    """The peers' Python in a checkout; raises UserError where it is not set up."""
    if not (folder / ".venv-peers" / ".ready").exists():
        raise UserError(
            f"the peers' environment {folder / '.venv-peers'} is not set up: run "
            f"`make bench-peers` in {folder}, or leave {peer} out of --against"
        )
    return folder / ".venv-peers" / "bin" / "python"


def script(name: str) -> str:
    """The path of a script in `peers/`."""
    return str(SCRIPTS / f"{name}.py")
