import json
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from covey.federation.p2p.peer_config import load_peer_config
from covey.federation.p2p.peer_files import read_model, read_revoked
from covey.federation.p2p.peer_folder import make_folder, revoke
from covey.federation.p2p.peer_roster import Roster, fingerprint
from covey.federation.p2p.peers_command import app
from covey.federation.p2p.wire_refusal import Refused
from covey.platform.errors import UserError

ADDRESSES = ("127.0.0.1:7400", "10.0.0.2:7400", "[::1]:7402")


def test_only_the_owner_can_read_any_of_the_files(tmp_path):
    make_folder(tmp_path / "peers", ADDRESSES)
    everything = [tmp_path / "peers", *(tmp_path / "peers").rglob("*")]
    assert len([path for path in everything if path.is_file()]) == 4 + 3 * 6
    for path in everything:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_peers_folder_is_all_that_it_needs(tmp_path):
    listed = make_folder(tmp_path / "peers", ADDRESSES)
    home = (tmp_path / "peers" / "peer-1").rename(tmp_path / "elsewhere")
    config = load_peer_config(home / "peer.yaml")
    assert (config.peer, config.listen) == ("peer-1", "10.0.0.2:7400")
    assert Path(config.run_dir) == home / "run"
    pem = Path(config.tls.certificate).read_bytes()
    certificate = x509.load_pem_x509_certificate(pem)
    assert certificate.subject.rfc4514_string() == "CN=peer-1"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["peer-1"]
    assert listed.peers["peer-1"].fingerprint == fingerprint(pem)
    assert not list(home.glob("**/root.key"))
    roster = Roster(Path(config.peers), Path(config.revoked), lambda kind, message: None)
    roster.check("peer-1", pem)
    with pytest.raises(Refused, match="is not the listed"):
        roster.check("peer-2", pem)


def test_what_is_there_is_never_replaced(tmp_path):
    make_folder(tmp_path / "peers", ADDRESSES)
    key = (tmp_path / "peers" / "root.key").read_bytes()
    with pytest.raises(UserError, match="is there already"):
        make_folder(tmp_path / "peers", ADDRESSES)
    assert (tmp_path / "peers" / "root.key").read_bytes() == key
    assert [path.name for path in tmp_path.iterdir()] == ["peers"]


def test_a_folder_that_cannot_be_filled_is_not_there_at_all(tmp_path, monkeypatch):
    calls = iter(range(100))

    def full(file, content):
        if next(calls) == 7:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("covey.federation.p2p.peer_folder.write_private", full)
    with pytest.raises(OSError, match="No space"):
        make_folder(tmp_path / "peers", ADDRESSES)
    assert not list(tmp_path.iterdir())


def test_a_revoked_certificate_is_in_every_list_once(tmp_path):
    folder = tmp_path / "peers"
    listed = make_folder(folder, ADDRESSES)
    for _ in range(2):
        shown, files = revoke(folder, "peer-2")
    assert shown == listed.peers["peer-2"].fingerprint
    assert len(files) == 4
    for file in files:
        assert read_revoked(file) == {shown}
        assert file.read_text().count(shown) == 1
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(UserError, match="lists no peer 'peer2'; nearest is peer-2"):
        revoke(folder, "peer2")


def test_openssl_says_the_same_fingerprint(tmp_path):
    folder = tmp_path / "peers"
    listed = make_folder(folder, ADDRESSES)
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in"]
    said = subprocess.run(
        [*command, folder / "peer-0" / "peer.pem"], capture_output=True, text=True, check=True
    )
    shown = said.stdout.partition("=")[2].strip()
    (folder / "revoked.txt").write_text(f"# by hand\n\n{shown}  # peer-0\n")
    assert read_revoked(folder / "revoked.txt") == {listed.peers["peer-0"].fingerprint}


def test_a_roster_is_read_again_when_its_files_change(tmp_path):
    folder, notes = tmp_path / "peers", []
    listed = make_folder(folder, ADDRESSES)
    roster = Roster(
        folder / "peers.yaml", folder / "revoked.txt", lambda kind, message: notes.append(message)
    )
    pem = (folder / "peer-1" / "peer.pem").read_bytes()
    roster.check("peer-1", pem)
    revoke(folder, "peer-1")
    with pytest.raises(Refused, match="is revoked"):
        roster.check("peer-1", pem)
    assert roster.is_revoked("peer-1")
    assert not roster.is_revoked("peer-0")
    # Nobody comes back because a list is spoilt or gone.
    (folder / "revoked.txt").write_text("nonsense\n")
    for _ in range(2):
        with pytest.raises(Refused, match="is revoked"):
            roster.check("peer-1", pem)
    (folder / "revoked.txt").unlink()
    assert roster.is_revoked("peer-1")
    assert [note.rpartition("revoked.txt")[2] for note in notes] == [
        " has changed, and is read again",
        ":1: 'nonsense' is no SHA-256 fingerprint; what it said before still holds",
        ": No such file or directory; what it said before still holds",
    ]
    moved = (folder / "peers.yaml").read_text().replace("10.0.0.2", "10.0.0.9")
    (folder / "peers.yaml").write_text(moved)
    assert roster.peers()["peer-1"].address == "10.0.0.9:7400"
    assert roster.peers()["peer-0"] == listed.peers["peer-0"]


@pytest.mark.parametrize(
    ("line", "instead", "said"),
    [
        ("listen: 127.0.0.1:7400", "lissen: 127.0.0.1:7400", "2: lissen: unknown key, nearest is"),
        ("listen: 127.0.0.1:7400", "listen: 7400", "peer.yaml:2: listen: found 7400"),
        ("  key: peer.key", "  key: other.key", "tls.key: no such file: "),
        ("peer: peer-0", "peer: [", "peer.yaml:"),
    ],
)
def test_a_wrong_configuration_is_a_line_with_its_place(tmp_path, line, instead, said):
    make_folder(tmp_path / "peers", ADDRESSES)
    file = tmp_path / "peers" / "peer-0" / "peer.yaml"
    file.write_text(file.read_text().replace(line + "\n", instead + "\n"))
    with pytest.raises(UserError) as error:
        load_peer_config(file)
    assert said in str(error.value)


def test_a_key_that_others_can_read_is_not_used(tmp_path):
    make_folder(tmp_path / "peers", ADDRESSES)
    (tmp_path / "peers" / "peer-0" / "peer.key").chmod(0o640)
    with pytest.raises(UserError, match="others can read it; do chmod 600"):
        load_peer_config(tmp_path / "peers" / "peer-0" / "peer.yaml")
    with pytest.raises(UserError, match=r"none\.yaml: No such file"):
        load_peer_config(tmp_path / "none.yaml")


def test_the_commands_print_json(tmp_path):
    folder = str(tmp_path / "peers")
    made = run("init", "--count", "2", "--out", folder, "--port", "9000", "--json")
    peers = json.loads(made.output)["peers"]
    assert [peer["address"] for peer in peers.values()] == ["127.0.0.1:9000", "127.0.0.1:9001"]
    gone = json.loads(run("revoke", "peer-1", "--dir", folder, "--json").output)
    assert gone["fingerprint"] == peers["peer-1"]["fingerprint"]
    assert len(gone["files"]) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--count", "0"), "1 to 1000 peers"),
        (("--count", "2", "--port", "65535"), "--port 65535"),
        (("--count", "2", "--address", "a:1"), "1 given, --count is 2"),
        (("--count", "1", "--address", "a"), "not HOST:PORT"),
        (("--count", "1", "--address", "a:70000"), "not HOST:PORT"),
        (("--count", "2", "--address", "a:1", "--address", "a:1"), "given twice"),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path, arguments, said):
    ended = run("init", *arguments, "--out", str(tmp_path / "peers"))
    assert isinstance(ended.exception, UserError)
    assert said in str(ended.exception)
    assert not (tmp_path / "peers").exists()


def run(*arguments):
    return CliRunner().invoke(app, arguments)


def test_a_certificate_of_another_folder_is_not_believed(tmp_path):
    """By the strict rules of Python's own TLS, in both directions."""
    for name in ("ours", "theirs"):
        make_folder(tmp_path / name, ADDRESSES)
    check = [sys.executable, "-c", HANDSHAKE, str(tmp_path / "ours" / "peer-0")]
    for other, said in (("ours", "done"), ("theirs", "verify failed")):
        ended = subprocess.run([*check, str(tmp_path / other / "peer-1")], capture_output=True)
        assert said in ended.stdout.decode(), ended.stderr.decode()


HANDSHAKE = """
import ssl, sys
from pathlib import Path

def context(kind, home, trust):
    made = ssl.SSLContext(kind)
    made.load_cert_chain(home / "peer.pem", home / "peer.key")
    made.load_verify_locations(trust / "root.pem")
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.verify_mode = ssl.CERT_REQUIRED
    return made

one, two = (Path(name) for name in sys.argv[1:])
server = context(ssl.PROTOCOL_TLS_SERVER, one, one)
client = context(ssl.PROTOCOL_TLS_CLIENT, two, two)
down, up = ssl.MemoryBIO(), ssl.MemoryBIO()
waiting = {
    client.wrap_bio(down, up, server_hostname="peer-0"),
    server.wrap_bio(up, down, server_side=True),
}
while waiting:
    for side in list(waiting):
        try:
            side.do_handshake()
            waiting.discard(side)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            sys.exit(print(error))
print("done")
"""


def test_nobody_is_given_the_old_list_while_another_reads_the_new_one(tmp_path, monkeypatch):
    make_folder(tmp_path / "peers", ADDRESSES)
    config = load_peer_config(tmp_path / "peers" / "peer-0" / "peer.yaml")
    roster = Roster(Path(config.peers), Path(config.revoked), lambda kind, message: None)
    listed = Path(config.peers)
    listed.write_text(listed.read_text().replace("10.0.0.2:7400", "10.0.0.9:7400"))
    reads, may_go_on = threading.Event(), threading.Event()

    def slowly(*arguments):
        reads.set()
        assert may_go_on.wait(120)
        return read_model(*arguments)

    monkeypatch.setattr("covey.federation.p2p.peer_roster.read_model", slowly)
    found = []
    threads = [threading.Thread(target=lambda: found.append(roster.peers())) for _ in range(2)]
    threads[0].start()
    assert reads.wait(120)
    threads[1].start()
    threads[1].join(0.2)
    may_go_on.set()
    for thread in threads:
        thread.join()
    assert [peers["peer-1"].address for peers in found] == ["10.0.0.9:7400"] * 2
