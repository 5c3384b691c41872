"""A federation's manifests, and the keys that go with them."""

import base64
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
)

from covey.federation.site_keys import make_site_keys
from covey.federation.superlink_section import SuperLinkSection
from covey.platform.errors import UserError
from covey.platform.jobfile.load import load_job_file
from covey.platform.kubernetes.checking import check
from covey.platform.kubernetes.rendering import render

JOBS = Path(__file__).parents[2] / "deploy" / "jobs"
FITS = ("digits-superlink", "digits-fedavg", "digits-scaffold", "digits-fedgen", "digits-fedbuff")
SITES = "kubernetes={sites: [north, south, east, west], namespace: lab}"


def job(name="digits-superlink", *overrides):
    return load_job_file(JOBS / f"{name}.yaml", ["federated.engine=superlink", *overrides])


def objects(text: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(text)}


def pod_of(kind):
    return kind["spec"]["template"]["spec"]


@pytest.mark.parametrize("name", FITS)
def test_a_federations_manifest_passes_the_check(name):
    text = render(job(name), "flower")
    assert check(text, None) == []
    assert "PRIVATE KEY" not in text and "Secret" not in {kind for kind, _ in objects(text)}


def test_every_site_is_one_client():
    found = objects(render(job("digits-superlink", SITES), "flower"))
    assert {space["metadata"]["namespace"] for space in found.values()} == {"lab"}
    for client, site in enumerate(("north", "south", "east", "west")):
        node = found["Deployment", f"digits-superlink-{site}"]
        (supernode,) = pod_of(node)["containers"]
        assert (
            f"--client={client}" in supernode["command"] and "--clients=4" in supernode["command"]
        )
        assert node["spec"]["template"]["metadata"]["labels"]["covey/site"] == site
        keys = next(one for one in pod_of(node)["volumes"] if one["name"] == "keys")
        assert keys["secret"]["secretName"] == f"digits-superlink-{site}-keys"
    assert sum(kind == "Deployment" for kind, _ in found) == 5


def test_only_the_job_has_the_credentials_of_a_store():
    keys = "kubernetes={secrets: [s3-keys], service_account: trainer}"
    found = objects(render(job("digits-superlink", keys), "flower"))
    (theirs,) = (pod_of(kind) for kind in found.values() if kind["kind"] == "Job")
    assert theirs["serviceAccountName"] == "trainer"
    assert theirs["containers"][0]["envFrom"] == [{"secretRef": {"name": "s3-keys"}}]
    others = [kind for kind in found.values() if kind["kind"] != "Job"]
    assert "s3-keys" not in str(others) and "trainer" not in str(others)


def test_the_job_is_told_where_the_superlink_is():
    found = objects(render(job("digits-superlink", "retries={max_attempts: 4}"), "flower"))
    files = yaml.safe_load(found["ConfigMap", "digits-superlink-job"]["data"]["job.yaml"])
    superlink = SuperLinkSection(**files["federated"]["superlink"])
    service = found["Service", "digits-superlink-superlink"]
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    assert superlink.address == f"digits-superlink-superlink:{ports['superlink']}"
    run = found["Job", "digits-superlink"]
    (main,) = pod_of(run)["containers"]
    mounted = {one["name"]: one["mountPath"] for one in main["volumeMounts"]}
    assert superlink.superexec_secret == f"{mounted['keys']}/superexec.secret"
    assert run["spec"]["backoffLimit"] == 3


def test_who_reaches_whom():
    """Of all pairs of pods, two may speak: SuperNodes with the gate, the job with the SuperLink."""
    found = objects(render(job(), "flower"))
    policies = [one["spec"] for (kind, _), one in found.items() if kind == "NetworkPolicy"]
    pods = {
        part: found[kind, name]["spec"]["template"]["metadata"]["labels"]
        for part, kind, name in (
            ("superlink", "Deployment", "digits-superlink-superlink"),
            ("supernode", "Deployment", "digits-superlink-site-0"),
            ("job", "Job", "digits-superlink"),
        )
    }

    def chosen(selector, labels):
        return selector["matchLabels"].items() <= labels.items()

    def ports(direction, side, pod, other):
        return {
            port["port"]
            for policy in policies
            if chosen(policy["podSelector"], pods[pod])
            for rule in policy.get(direction, ())
            for peer in rule[side]
            if "podSelector" in peer and chosen(peer["podSelector"], pods[other])
            for port in rule["ports"]
        }

    for pod in pods:  # what is not allowed is denied, in both directions
        types = [each["policyTypes"] for each in policies if chosen(each["podSelector"], pods[pod])]
        assert ["Ingress", "Egress"] in types
    open_ = {
        (one, other): ports("egress", "to", one, other) & ports("ingress", "from", other, one)
        for one in pods
        for other in pods
    }
    wanted = {("supernode", "superlink"): {9092}, ("job", "superlink"): {9091}}
    assert {pair: found for pair, found in open_.items() if found} == wanted
    superlink = pod_of(found["Deployment", "digits-superlink-superlink"])["containers"]
    listens = {each["name"]: each["ports"][0]["containerPort"] for each in superlink}
    assert listens == {"superlink": 9091, "gate": 9092}


@pytest.mark.parametrize(
    ("name", "overrides", "words"),
    [
        ("digits-fedavg", ["federated.engine=inline"], "federated.engine: inline, .* superlink"),
        ("digits-superlink", ["federated.superlink={address: here:1}"], "address: the manifest"),
        ("digits-superlink", ["name=7sites"], "name: 7sites begins with a digit"),
        ("digits-superlink", ["kubernetes={sites: [a, b]}"], "sites: 2 sites, but .* is 4"),
        ("digits-superlink", ["kubernetes={sites: [a, b, c, b]}"], "names a site twice"),
        ("digits-superlink", ["kubernetes={sites: [a, b, server, d]}"], "server is another pod's"),
        (
            "digits-superlink",
            [f"kubernetes={{sites: [a, b, c, {'d' * 60}]}}"],
            "longer than 63 characters",
        ),
    ],
)
def test_what_cannot_run_on_sites(name, overrides, words):
    with pytest.raises(UserError, match=words):
        render(job(name, *overrides), "flower")


def test_another_workload_has_no_sites():
    with pytest.raises(UserError, match="workload: rl, and --target flower is for federations"):
        render(load_job_file(JOBS / "cartpole-ppo.yaml"), "flower")


def test_keys_are_what_the_manifest_refers_to(tmp_path):
    made = job("digits-superlink", SITES)
    folder = tmp_path / "keys"
    files = make_site_keys(made, folder, ["flower.example.org", "10.1.2.3"])
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert set(folder.iterdir()) == set(files) and stat.S_IMODE(folder.stat().st_mode) == 0o700
    text = "---\n".join(file.read_text() for file in files)
    assert check(text, None) == []
    keys = objects(text)
    for kind in objects(render(made, "flower")).values():
        volumes = (
            pod_of(kind)["volumes"]
            if "template" in kind["spec" if "spec" in kind else "data"]
            else []
        )
        for volume in volumes:
            if "secret" in volume:
                assert ("Secret", volume["secret"]["secretName"]) in keys
            if "configMap" in volume and volume["name"] == "sites":
                assert ("ConfigMap", volume["configMap"]["name"]) in keys
    contents = {
        name: {key: base64.b64decode(value) for key, value in one["data"].items()}
        for (kind, name), one in keys.items()
        if kind == "Secret"
    }
    superlink, server = (
        contents[f"digits-superlink-{one}-keys"] for one in ("superlink", "server")
    )
    assert superlink["superexec.secret"] == server["superexec.secret"] and "tls.key" not in server
    certificate = x509.load_pem_x509_certificate(superlink["tls.crt"])
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(superlink["ca.crt"]))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "digits-superlink-superlink" in names.get_values_for_type(x509.DNSName)
    assert "flower.example.org" in names.get_values_for_type(x509.DNSName)
    assert "10.1.2.3" in map(str, names.get_values_for_type(x509.IPAddress))
    public = keys["ConfigMap", "digits-superlink-sites"]["data"]
    for site, pem in public.items():
        own = contents[f"digits-superlink-{site}-keys"]
        assert set(own) == {"ca.crt", "node.key"}
        half = load_ssh_private_key(own["node.key"], None).public_key()
        assert half.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode() == pem
    with pytest.raises(UserError, match="never overwritten"):
        make_site_keys(made, folder)
