"""Keys and certificates: of a SuperLink on loopback and of its SuperNodes, made anew for each run.

Every private key is readable by its owner only, and so is the folder. Those of peers are made with
`p2p/peer_folder.py`.
"""

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

LOOPBACK = "127.0.0.1"
VALID = timedelta(days=365)
"""Longer than any run; a run that goes on later makes new ones."""


@dataclass(frozen=True)
class Certificates:
    """PEM files: `root` signed `certificate`, which belongs to the private `key`."""

    root: Path
    certificate: Path
    key: Path


class Authority:
    """A root certificate and the private key that signs others in its name."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self._key = key

    @classmethod
    def make(cls, name: str) -> "Authority":
        """A new root, with a new key."""
        key = ec.generate_private_key(ec.SECP256R1())
        root = (
            _builder(_name(name), _name(name), key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(root, key)

    def issue(
        self, name: str, answers_to: list[x509.GeneralName]
    ) -> tuple[x509.Certificate, bytes]:
        """A certificate for a common name and these addresses, and its private key (PEM)."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer)
        certificate = (
            _builder(_name(name), self.certificate.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.SubjectAlternativeName(answers_to), critical=False)
            .add_extension(authority, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate, private_pem(key)

    @property
    def private_key(self) -> bytes:
        """PEM; whoever has it can make certificates that all who trust this root believe."""
        return private_pem(self._key)


def make_certificates(folder: Path) -> Certificates:
    """A root that signs one certificate for loopback. The root's own key is not kept."""
    authority = Authority.make("Covey run root")
    addresses = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(LOOPBACK))]
    certificate, private = authority.issue("Covey SuperLink", addresses)
    made = Certificates(folder / "root.pem", folder / "superlink.pem", folder / "superlink.key")
    write_private(made.root, authority.certificate.public_bytes(Encoding.PEM))
    write_private(made.certificate, certificate.public_bytes(Encoding.PEM))
    write_private(made.key, private)
    return made


def make_node_key(file: Path) -> bytes:
    """Write a SuperNode's private key (OpenSSH's form); returns the public one (PEM)."""
    key = ec.generate_private_key(ec.SECP384R1())
    write_private(file, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def write_private(file: Path, content: bytes) -> None:
    """Write a new file that only its owner can read, at no moment anybody else."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key, not encrypted: for a file that only its owner can read."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
