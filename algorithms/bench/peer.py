"""The peers by name, and the Python that has each: SB3 lives apart, RLlib comes with Covey."""

import sys
from difflib import get_close_matches
from pathlib import Path

from covey.platform.errors import UserError

PEERS = {"rllib": "RLlib", "sb3": "SB3"}
SCRIPTS = Path(__file__).parent / "peers"


def chosen_peers(names: str) -> tuple[str, ...]:
    """The peers named, with commas between them; raises UserError for one that is not known or not
    installed.
    """
    chosen = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if chosen in ((), ("none",)):
        return ()
    for name in chosen:
        if name not in PEERS:
            nearest = get_close_matches(name, PEERS, n=1, cutoff=0)[0]
            raise UserError(
                f"no peer is called {name!r}; known: {', '.join(PEERS)}; nearest: {nearest}"
            )
        python_of(name)
    return chosen


def python_of(peer: str) -> Path:
    """The interpreter that runs a peer's scripts."""
    if peer == "rllib":
        return Path(sys.executable)
    return peers_python(checkout())


def checkout() -> Path:
    """The folder with the Makefile: Covey's own, else the one the command is run in."""
    own = Path(__file__).resolve().parents[2]
    return own if (own / "Makefile").exists() else Path.cwd()


def peers_python(folder: Path) -> Path:
    """The peers' Python in a checkout; raises UserError where it is not set up."""
    if not (folder / ".venv-peers" / ".ready").exists():
        raise UserError(
            f"the peers' environment {folder / '.venv-peers'} is not set up: run "
            f"`make bench-peers` in {folder}, or leave sb3 out of --against"
        )
    return folder / ".venv-peers" / "bin" / "python"


def script(name: str) -> str:
    """The path of a script in `peers/`."""
    return str(SCRIPTS / f"{name}.py")
