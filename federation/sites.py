"""A federation on real sites, as Kubernetes runs it: a SuperLink, a SuperNode for each site and the
job, which takes the ServerApp's place (`engine: superlink` with an address).

A SuperNode reaches the gate before the SuperLink only (`fleet_gate`), and only the job reaches the
SuperLink itself. Keys and certificates are in Secrets that are made apart from this, by
`covey site-keys`: here are their names.
"""

import math
from collections.abc import Mapping

from covey.federation.section import BUILT_IN_APPS, FederatedSection
from covey.federation.site_network import (
    GATE_PORT,
    SUPERLINK_PORT,
    metadata_of,
    part_labels,
    policies,
    service,
    superlink_of,
)
from covey.federation.superlink_section import SuperLinkSection
from covey.platform.errors import UserError
from covey.platform.exit_status import ExitStatus
from covey.platform.jobfile.kubernetes_section import KubernetesSection
from covey.platform.jobfile.model import JobFile
from covey.platform.kubernetes.credentials import account_of, variables_of
from covey.platform.kubernetes.job_files import FOLDER, JobFiles
from covey.platform.kubernetes.pods import Manifest, container, resources, scratch, template
from covey.platform.kubernetes.ray_kinds import ENVIRONMENT, HOME, section_of

KEYS = "/etc/covey-keys"
"""Where a pod has its Secret."""
SITE = "covey/site"
LONGEST = 63
"""Of the name of a Deployment whose pods are labelled with it."""
READABLE = 0o440
POD_END_S = 10
"""On top of a job's grace period, for its process to end."""
WAIT_S = 1800.0
"""A node and its image may take many minutes."""


def site_names(job: JobFile) -> list[str]:
    """The sites that the job names, or as many as it has clients; UserError for a wrong number."""
    section: FederatedSection = job.section
    given = (job.kubernetes or KubernetesSection()).sites
    names = given or [f"site-{number}" for number in range(section.clients)]
    if len(names) != section.clients:
        raise UserError(
            f"kubernetes.sites: {len(names)} sites, but federated.clients is {section.clients}"
        )
    longest = max(names, key=len)
    if len(f"{job.name}-{longest}") > LONGEST:
        raise UserError(
            f"kubernetes.sites: {job.name}-{longest} is longer than {LONGEST} characters; choose "
            "a shorter name for the job or the site"
        )
    if len(set(names)) < len(names):
        raise UserError("kubernetes.sites: names a site twice")
    if taken := {"superlink", "server"}.intersection(names):
        raise UserError(f"kubernetes.sites: {min(taken)} is another pod's name; choose another")
    return names


def manifests(job: JobFile) -> list[Manifest]:
    """All objects but the Secrets. UserError for a job that cannot run so."""
    section: FederatedSection = job.section
    if section.engine != "superlink":
        raise UserError(
            f"federated.engine: {section.engine}, and --target flower is for superlink; "
            "--set federated.engine=superlink"
        )
    if section.superlink and section.superlink.address:
        raise UserError(
            "federated.superlink.address: the manifest brings a SuperLink with it; leave it out"
        )
    if not job.name[0].isalpha():
        raise UserError(
            f"name: {job.name} begins with a digit, and Kubernetes wants a letter; --set name=..."
        )
    kinds = _Kinds(job)
    return [
        kinds.files(),
        *policies(job),
        service(job),
        kinds.superlink(),
        *(kinds.supernode(client, site) for client, site in enumerate(site_names(job))),
        kinds.job(),
    ]


class _Kinds:
    """The objects of one job."""

    def __init__(self, job: JobFile) -> None:
        self._job = job
        self._section = section_of(job)
        self._federated: FederatedSection = job.section
        self._superlink = superlink_of(job)

    def files(self) -> Manifest:
        """The job file as the job's pod has it, with the SuperLink's address."""
        return self._files().config_map(metadata_of(self._job, f"{self._job.name}-job"))

    def superlink(self) -> Manifest:
        """The SuperLink, whose state is in memory, and the gate before it."""
        superlink = self._container(
            "superlink",
            [
                "flower-superlink",
                "--host=0.0.0.0",
                f"--port={SUPERLINK_PORT}",
                "--isolation=process",
                "--enable-supernode-auth",
                "--disable-runtime-dependency-installation",
                f"--superexec-auth-secret-file={KEYS}/superexec.secret",
                f"--ssl-ca-certfile={KEYS}/ca.crt",
                f"--ssl-certfile={KEYS}/tls.crt",
                f"--ssl-keyfile={KEYS}/tls.key",
            ],
            resources(1, self._section.memory),
            {"keys": KEYS, "tmp": "/tmp"},
            {
                "FLWR_HOME": "/tmp/flower",
                "FLWR_TELEMETRY_ENABLED": "0",
                "FLWR_DISABLE_UPDATE_CHECK": "1",
            },
            ports=[{"name": "superlink", "containerPort": SUPERLINK_PORT}],
            livenessProbe=_health(SUPERLINK_PORT, failures=6),
            readinessProbe=_health(SUPERLINK_PORT, failures=1),
        )
        gate = self._container(
            "gate",
            [
                "python",
                "-m",
                "covey.federation.fleet_gate",
                f"--superlink=127.0.0.1:{SUPERLINK_PORT}",
                f"--port={GATE_PORT}",
                f"--root={KEYS}/ca.crt",
                f"--certificate={KEYS}/tls.crt",
                f"--key={KEYS}/tls.key",
                "--sites=/etc/covey-sites",
            ],
            resources(0.5, "512Mi"),
            {"keys": KEYS, "sites": "/etc/covey-sites", "tmp": "/tmp"},
            {},
            ports=[{"name": "supernodes", "containerPort": GATE_PORT}],
            readinessProbe={"tcpSocket": {"port": GATE_PORT}, "periodSeconds": 5},
        )
        volumes = [
            _secret("keys", self._superlink),
            {"name": "sites", "configMap": {"name": f"{self._job.name}-sites"}},
            scratch("tmp", "4Gi"),
        ]
        return self._deployment(self._superlink, "superlink", {}, [superlink, gate], volumes)

    def supernode(self, client: int, site: str) -> Manifest:
        """The SuperNode of a site. Data sets are those of the claim, read-only."""
        name = f"{self._job.name}-{site}"
        library = ["--library=torch"] if self._federated.app in BUILT_IN_APPS else []
        cpus = self._section.pod_cpus or 1
        node = self._container(
            "supernode",
            [
                "python",
                "-m",
                "covey.federation.site",
                f"--superlink={self._superlink}:{GATE_PORT}",
                f"--root={KEYS}/ca.crt",
                f"--key={KEYS}/node.key",
                f"--client={client}",
                f"--clients={self._federated.clients}",
                *library,
            ],
            resources(cpus, self._section.memory),
            {"keys": KEYS, "data": HOME, "tmp": "/tmp", "shm": "/dev/shm"},
            {"OMP_NUM_THREADS": str(max(1, int(cpus)))},
        )
        volumes = [
            _secret("keys", name),
            self._claim("data"),
            scratch("tmp", "10Gi"),
            scratch("shm", self._section.shared_memory, in_memory=True),
        ]
        return self._deployment(name, "supernode", {SITE: site}, [node], volumes)

    def job(self) -> Manifest:
        """The job itself: its rounds, its run folder on the claim, and its checkpoints. An attempt
        that fails is followed by another, but for a mistake of the user's.
        """
        job = self._job
        mounts = {"home": HOME, "job": FOLDER, "keys": KEYS, "tmp": "/tmp", "shm": "/dev/shm"}
        main = self._container(
            "job",
            [
                "python",
                "-P",
                "-m",
                "covey.platform.driver",
                f"{HOME}/runs/{job.name}",
                "--job",
                f"{FOLDER}/job.yaml",
            ],
            resources(job.resources.cpus, self._section.memory, int(job.resources.gpus)),
            mounts,
            {"OMP_NUM_THREADS": str(max(1, int(job.resources.cpus)))},
        )
        volumes = [
            self._claim("home"),
            self._files().volume(f"{job.name}-job"),
            _secret("keys", f"{job.name}-server"),
            scratch("tmp", "10Gi"),
            scratch("shm", self._section.shared_memory, in_memory=True),
        ]
        codes = {"operator": "In", "values": [int(ExitStatus.USER_MISTAKE)]}
        rules = [
            # A pod that had to go, with its node or for another's sake, is no failed attempt.
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
            {"action": "FailJob", "onExitCodes": {"containerName": "job", **codes}},
        ]
        main |= variables_of(self._section)
        pod = template(part_labels(job, "job"), [main], volumes, restart="Never")
        pod["spec"] |= account_of(self._section)
        pod["spec"]["terminationGracePeriodSeconds"] = math.ceil(job.grace_s) + POD_END_S
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata_of(job, job.name),
            "spec": {
                "backoffLimit": job.retries.max_attempts - 1,
                "podFailurePolicy": {"rules": rules},
                "podReplacementPolicy": "Failed",
                "template": pod,
            },
        }

    def _files(self) -> JobFiles:
        given = self._federated.superlink or SuperLinkSection()
        superlink = given.model_copy(
            update={
                "wait_s": max(given.wait_s, WAIT_S),
                "address": f"{self._superlink}:{SUPERLINK_PORT}",
                "root_certificates": f"{KEYS}/ca.crt",
                "superexec_secret": f"{KEYS}/superexec.secret",
                **dict.fromkeys(("port", "certificate", "key")),
            }
        )
        section = self._federated.model_copy(update={"superlink": superlink})
        return JobFiles.of(self._job.model_copy(update={"federated": section}))

    def _container(
        self,
        name: str,
        command: list[str],
        takes: Manifest,
        mounts: Mapping[str, str],
        environment: Mapping[str, str],
        **more: object,
    ) -> Manifest:
        variables = {"COVEY_HOME": HOME, **ENVIRONMENT, **environment}
        unwritten = [each for each in mounts if each in ("keys", "sites", "job", "data")]
        made = container(name, self._section.image, takes, mounts, variables, unwritten, **more)
        return made | {"command": command}

    def _deployment(
        self,
        name: str,
        part: str,
        labels: Mapping[str, str],
        containers: list[Manifest],
        volumes: list[Manifest],
    ) -> Manifest:
        labels = {**part_labels(self._job, part), **labels}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata_of(self._job, name),
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},  # a key is one SuperNode's at a time
                "selector": {"matchLabels": labels},
                "template": template(labels, containers, volumes, restart="Always"),
            },
        }

    def _claim(self, volume: str) -> Manifest:
        return {"name": volume, "persistentVolumeClaim": {"claimName": self._section.claim}}


def _secret(volume: str, name: str) -> Manifest:
    return {"name": volume, "secret": {"secretName": f"{name}-keys", "defaultMode": READABLE}}


def _health(port: int, failures: int) -> Manifest:
    get = {"path": "/health", "port": port, "scheme": "HTTPS"}
    return {"httpGet": get, "initialDelaySeconds": 5, "failureThreshold": failures}
