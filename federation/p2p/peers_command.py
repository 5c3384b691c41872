"""`covey peers`: keys, certificates and files for peers that learn from each other."""

import re
from pathlib import Path
from typing import Annotated

import typer

from covey.platform.cli.output import Json, note, print_json, say
from covey.platform.errors import UserError

app = typer.Typer(
    help="Make keys and files for peers that learn from each other, and revoke them.",
    no_args_is_help=True,
)
MAX_PEERS = 1_000
MAX_PORT = 65_535


@app.command()
def init(
    count: Annotated[int, typer.Option(help="How many peers.", metavar="K")],
    out: Annotated[Path, typer.Option(help="The folder to make.", metavar="DIR")],
    address: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where a peer listens and others reach it; once a peer, in their order. "
            "Ports of loopback if left out.",
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="The first peer's port on loopback.")] = 7400,
    as_json: Json = False,
) -> None:
    """Make a certificate, a key and a configuration for each of K peers."""
    addresses = _addresses(count, address, port)
    from covey.federation.p2p.peer_folder import make_folder

    listed = make_folder(out, addresses)
    if as_json:
        print_json({"dir": str(out), **listed.model_dump(mode="json")})
        return
    say(f"{out}: {count} peers of {listed.run}, each with a folder for its machine")
    for name, entry in listed.peers.items():
        say(f"  {out / name}  {entry.address}")
    note(f"keep {out / 'root.key'} to yourself: whoever has it can make more peers")


@app.command()
def revoke(
    peer: Annotated[str, typer.Argument(help="The peer's name, such as peer-3.")],
    folder: Annotated[
        Path, typer.Option("--dir", help="The folder that `covey peers init` made.", metavar="DIR")
    ],
    as_json: Json = False,
) -> None:
    """Add a peer's certificate to the lists of those that the others no longer believe."""
    from covey.federation.p2p.peer_folder import revoke as revoke_peer

    fingerprint, files = revoke_peer(folder, peer)
    if as_json:
        document = {
            "peer": peer,
            "fingerprint": fingerprint,
            "files": [str(file) for file in files],
        }
        print_json(document)
        return
    say(f"{peer} is revoked in {len(files)} lists under {folder}; running peers see it at once")
    note(f"copy {folder / 'revoked.txt'} into the folder of each peer on another machine")


def _addresses(count: int, given: list[str] | None, port: int) -> list[str]:
    if not 1 <= count <= MAX_PEERS:
        raise UserError(f"--count {count}: 1 to {MAX_PEERS} peers are possible")
    if not given:
        if not 1 <= port <= MAX_PORT + 1 - count:
            raise UserError(f"--port {port}: {count} ports from there on must be 1 to {MAX_PORT}")
        return [f"127.0.0.1:{port + number}" for number in range(count)]
    if len(given) != count:
        raise UserError(f"--address: {len(given)} given, --count is {count}")
    for address in given:
        if not re.fullmatch(ADDRESS, address) or int(address.rpartition(":")[2]) > MAX_PORT:
            raise UserError(f"--address {address}: not HOST:PORT")
        if given.count(address) > 1:
            raise UserError(f"--address {address}: given twice")
    return given


ADDRESS = r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]{1,253}):[1-9][0-9]{0,4}"
