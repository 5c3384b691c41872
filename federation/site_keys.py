"""Keys and certificates for a federation on sites (`sites`), as Kubernetes' Secrets.

Each file is for whoever runs that pod: the SuperLink and the job, or a site. The root's own key is
not kept, for a SuperNode has no certificate: its key is listed by its public half.
"""

import ipaddress
import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from covey.federation.certificates import LOOPBACK, Authority, make_node_key, write_private
from covey.federation.site_network import metadata_of, superlink_of
from covey.federation.sites import site_names
from covey.platform.errors import UserError
from covey.platform.jobfile.model import JobFile
from covey.platform.kubernetes.pods import Manifest
from covey.platform.kubernetes.ray_kinds import section_of


def make_site_keys(job: JobFile, folder: Path, addresses: Sequence[str] = ()) -> list[Path]:
    """Make the folder and its files, readable by their owner only. `addresses`: host names and IP
    addresses by which sites elsewhere reach the SuperLink.
    """
    sites = site_names(job)
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise UserError(f"--out {folder} is there already; keys are never overwritten") from None
    authority = Authority.make(f"Covey sites of {job.name}")
    root = authority.certificate.public_bytes(Encoding.PEM)
    service = superlink_of(job)
    namespace = section_of(job).namespace
    names = [service, f"{service}.{namespace}", f"{service}.{namespace}.svc", "localhost", LOOPBACK]
    certificate, key = authority.issue(service, [_name(each) for each in [*names, *addresses]])
    server = {"ca.crt": root, "superexec.secret": secrets.token_bytes(32)}
    superlink = server | {"tls.crt": certificate.public_bytes(Encoding.PEM), "tls.key": key}
    files = {
        "superlink.yaml": _secret(job, "superlink", superlink),
        "server.yaml": _secret(job, "server", server),
    }
    public = {}
    for site in sites:
        half = folder / f"{site}.key"
        public[site] = make_node_key(half)
        own = {"ca.crt": root, "node.key": half.read_bytes()}
        half.unlink()
        files[f"site-{site}.yaml"] = _secret(job, site, own)
    files["sites.yaml"] = _object(job, "ConfigMap", f"{job.name}-sites") | {
        "data": {site: pem.decode() for site, pem in public.items()}
    }
    for name, manifest in files.items():
        write_private(folder / name, yaml.safe_dump(manifest, sort_keys=False).encode())
    return [folder / name for name in files]


def _name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _object(job: JobFile, kind: str, name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata_of(job, name)}


def _secret(job: JobFile, whose: str, files: Mapping[str, bytes]) -> Manifest:
    data = {name: b64encode(content).decode() for name, content in files.items()}
    return _object(job, "Secret", f"{job.name}-{whose}-keys") | {"type": "Opaque", "data": data}
