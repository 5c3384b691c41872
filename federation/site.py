"""A SuperNode in a pod or on a machine of its own: `flower-supernode` in this process's place.

    python -m covey.federation.site --superlink HOST:9092 --root ca.crt --key node.key --client 0 \\
        --clients 4 [--library torch]

It writes below --folder only, which must not be there yet or be its own. Its clients' processes are
forked from one that has the libraries (`superexec`); between them and it there is TLS with a
certificate that is made for it at the start.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

from covey.federation.certificates import LOOPBACK, make_certificates
from covey.federation.superexec import write_command
from covey.federation.superlink import flower_command, tls_options
from covey.platform.environment import flower_environment, reach_loopback_without_proxy

PORT = 9094
"""On loopback, for its clients' processes."""


def main() -> None:
    """Become the SuperNode."""
    parser = argparse.ArgumentParser(description="Run the SuperNode of one client.")
    parser.add_argument("--superlink", required=True, metavar="HOST:PORT")
    for name in ("root", "key"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("client", "clients"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--library", dest="libraries", action="append", default=[])
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/site"))
    options = parser.parse_args()
    folder: Path = options.folder
    shutil.rmtree(folder, ignore_errors=True)  # of a start before this one
    folder.mkdir(mode=0o700, parents=True)
    certificates = make_certificates(folder)
    write_command(folder / "commands", options.libraries)
    reach_loopback_without_proxy()
    command = [
        flower_command("flower-supernode"),
        f"--superlink={options.superlink}",
        f"--root-certificates={options.root}",
        f"--auth-supernode-private-key={options.key}",
        f"--node-config=partition-id={options.client} num-partitions={options.clients}",
        f"--host={LOOPBACK}",
        f"--port={options.port}",
        *tls_options(certificates),
    ]
    sys.stdout.flush()
    os.execve(
        command[0],
        command,
        flower_environment(folder, folder / "bytecode", folder / "commands"),
    )


if __name__ == "__main__":
    main()
