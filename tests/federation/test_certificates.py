import ssl
import stat

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_private_key

from covey.federation.certificates import make_certificates, make_node_key, write_private


def test_only_the_owner_can_read_a_key(tmp_path):
    made = make_certificates(tmp_path)
    make_node_key(tmp_path / "node.key")
    for file in (made.key, tmp_path / "node.key"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):  # a file that stands there already may have other modes
        write_private(made.key, b"")


def test_the_root_vouches_for_loopback_and_nobody_else(tmp_path):
    made, other = make_certificates(tmp_path), tmp_path / "other"
    other.mkdir()
    stranger = make_certificates(other)
    assert handshake(made, made.root, "127.0.0.1") == "done"
    assert handshake(made, made.root, "localhost") == "done"
    assert "mismatch" in handshake(made, made.root, "127.0.0.2")
    assert "verify failed" in handshake(made, stranger.root, "127.0.0.1")


def handshake(certificates, root, name):
    """Between a server with these certificates and a client that trusts `root`, without a socket.
    With the strictness that Python has by default from 3.13 on.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificates.certificate, certificates.key)
    client = ssl.create_default_context(cafile=root)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    down, up = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(down, up, server_hostname=name),
        server.wrap_bio(up, down, server_side=True),
    ]
    waiting = set(sides)
    while waiting:
        for side in sides:
            try:
                side.do_handshake()
                waiting.discard(side)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                return str(error)
    return "done"


def test_a_node_key_is_what_flower_reads(tmp_path):
    public = make_node_key(tmp_path / "node.key")
    private = load_ssh_private_key((tmp_path / "node.key").read_bytes(), None)
    assert private.public_key() == load_pem_public_key(public)


def test_each_run_has_its_own(tmp_path):
    serials = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        made = make_certificates(tmp_path / name)
        serials.add(x509.load_pem_x509_certificate(made.root.read_bytes()).serial_number)
    assert len(serials) == 2
