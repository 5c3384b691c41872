"""KubeRay's kinds (`ray.io/v1`, operator 1.7): a RayJob of its own for a job, or a RayCluster."""

import math
from dataclasses import dataclass
from importlib.metadata import version

from covey.platform.errors import UserError
from covey.platform.jobfile.kubernetes_section import KubernetesSection
from covey.platform.jobfile.model import JobFile
from covey.platform.kubernetes.credentials import account_of, variables_of
from covey.platform.kubernetes.job_files import FOLDER, JobFiles
from covey.platform.kubernetes.pods import (
    Manifest,
    container,
    locked_down,
    resources,
    scratch,
    template,
)

HOME = "/covey"
"""Where the claim is mounted: COVEY_HOME."""
MOUNTS = {"home": HOME, "job": FOLDER, "tmp": "/tmp", "shm": "/dev/shm"}
ENVIRONMENT = {
    "HOME": "/tmp",
    "MPLCONFIGDIR": "/tmp/matplotlib",
    "NUMBA_CACHE_DIR": "/tmp/numba",
    "RAY_USAGE_STATS_ENABLED": "0",
}
KEEP_S = 600
"""A cluster that has ended its job is kept so long, for its logs."""
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


@dataclass(frozen=True)
class Inside:
    """How it looks inside a job's pods."""

    #: where the claim is mounted: COVEY_HOME
    home: str = HOME
    #: the volume with the job file and its code, mounted at FOLDER; None: they are on the claim
    files: Manifest | None = None
    #: seconds that a pod has to end; None: what Kubernetes gives
    grace_s: int | None = None


def ray_job(job: JobFile) -> list[Manifest]:
    """A cluster that is made for the job, runs it, and is removed. When an attempt fails, another
    goes on from the newest checkpoint, in the same run folder on the claim.
    """
    section = section_of(job)
    metadata = _metadata(job, section)
    command = f"python -m covey.platform.driver {HOME}/runs/{job.name} --job {FOLDER}/job.yaml"
    limits = {
        "submitterConfig": {"backoffLimit": 2},
        "backoffLimit": job.retries.max_attempts - 1,
    }
    inside = Inside(files=JobFiles.of(job).volume(f"{job.name}-job"))
    return [_config_map(job, section), ray_job_of(job, metadata, command, limits, inside)]


def ray_job_of(
    job: JobFile, metadata: Manifest, command: str, limits: Manifest, inside: Inside
) -> Manifest:
    """A RayJob that runs `command` on a cluster of the job's size, in its Kueue queue if it has
    one; `limits` are further keys of its spec.
    """
    section = section_of(job)
    spec: Manifest = {
        "entrypoint": command,
        "submissionMode": "K8sJobMode",
        "submitterPodTemplate": _submitter(job, section),
        **limits,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": KEEP_S,
        "rayClusterSpec": _cluster(job, section, inside),
    }
    if section.queue is not None:
        spec = {"suspend": True} | spec  # Kueue lets it go
    metadata = metadata | {"labels": metadata["labels"] | _queue(section)}
    return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": metadata, "spec": spec}


def ray_cluster(job: JobFile) -> list[Manifest]:
    """A standing cluster of the size that the job needs, for `covey submit --address`."""
    section = section_of(job)
    inside = Inside(files=JobFiles.of(job).volume(f"{job.name}-job"))
    kind = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": _metadata(job, section),
        "spec": _cluster(job, section, inside),
    }
    return [_config_map(job, section), kind]


def size_bytes(quantity: str) -> int:
    """Of a quantity of the section, such as "2Gi"."""
    return int(quantity[:-2]) * UNITS[quantity[-2:]]


def section_of(job: JobFile) -> KubernetesSection:
    """The job's section, or one with all defaults. UserError for a job that fits no pods."""
    section = job.kubernetes or KubernetesSection()
    if size_bytes(section.shared_memory) >= size_bytes(section.memory):
        raise UserError(
            f"kubernetes.shared_memory: {section.shared_memory} must be less than the pod's "
            f"memory, {section.memory}, of which it is a part"
        )
    if job.resources.gpus != int(job.resources.gpus):
        raise UserError(
            f"resources.gpus: a pod has whole GPUs, and {job.resources.gpus:g} is asked for; use "
            f"{math.ceil(job.resources.gpus)}"
        )
    return section


def labels_of(job: JobFile) -> dict[str, str]:
    """What all objects of a job are found by, and its pods."""
    return {
        "app.kubernetes.io/name": "covey",
        "app.kubernetes.io/instance": job.name,
        "app.kubernetes.io/managed-by": "covey",
    }


def _queue(section: KubernetesSection) -> dict[str, str]:
    """Labels for Kueue."""
    if section.queue is None:
        if section.priority_class is not None:
            raise UserError(
                "kubernetes.priority_class: is Kueue's, which needs kubernetes.queue too"
            )
        return {}
    if section.max_pods is not None:
        raise UserError("kubernetes.max_pods: a job in a Kueue queue cannot grow; leave one out")
    labels = {"kueue.x-k8s.io/queue-name": section.queue}
    if section.priority_class is not None:
        labels["kueue.x-k8s.io/priority-class"] = section.priority_class
    return labels


def _metadata(job: JobFile, section: KubernetesSection) -> Manifest:
    if not job.name[0].isalpha():
        raise UserError(
            f"name: {job.name} begins with a digit, and Kubernetes wants a letter; --set name=..."
        )
    # Read where the operator runs with a batch scheduler: all pods of a job, or none.
    labels = labels_of(job) | {"ray.io/gang-scheduling-enabled": "true"}
    return {"name": job.name, "namespace": section.namespace, "labels": labels}


def _config_map(job: JobFile, section: KubernetesSection) -> Manifest:
    name = f"{job.name}-job"
    metadata = {"name": name, "namespace": section.namespace, "labels": labels_of(job)}
    return JobFiles.of(job).config_map(metadata)


def _cluster(job: JobFile, section: KubernetesSection, inside: Inside) -> Manifest:
    cpus = section.pod_cpus or job.resources.cpus
    pods = math.ceil(job.resources.cpus / cpus)
    grows = section.max_pods is not None and section.max_pods > 1
    if section.max_pods is not None and section.max_pods < pods:
        raise UserError(
            f"kubernetes.max_pods: the job's {job.resources.cpus:g} CPUs are {pods} pods of "
            f"{cpus:g}, and {section.max_pods} are allowed"
        )
    head = _ray_pod(job, section, inside, cpus, int(job.resources.gpus), knows_cluster=grows)
    spec: Manifest = {
        "rayVersion": version("ray"),
        "authOptions": {"mode": "token"},
        "headGroupSpec": {"rayStartParams": _start(section), "template": head},
    }
    if pods > 1 or grows:
        spec["workerGroupSpecs"] = [
            {
                "groupName": "workers",
                "replicas": pods - 1,
                "minReplicas": pods - 1,
                "maxReplicas": (section.max_pods or pods) - 1,
                "rayStartParams": _start(section),
                "template": _ray_pod(job, section, inside, cpus, 0),
            }
        ]
    if grows:
        spec |= {
            "enableInTreeAutoscaling": True,
            "autoscalerOptions": {
                "version": "v2",
                "idleTimeoutSeconds": 60,
                "resources": resources(0.5, "512Mi"),
                "securityContext": locked_down(),
            },
        }
    return spec


def _start(section: KubernetesSection) -> Manifest:
    """Parameters of `ray start`: its object store lies in what the pod has of /dev/shm."""
    return {"object-store-memory": str(size_bytes(section.shared_memory) * 9 // 10)}


def _ray_pod(
    job: JobFile,
    section: KubernetesSection,
    inside: Inside,
    cpus: float,
    gpus: int,
    knows_cluster: bool = False,
) -> Manifest:
    takes = resources(cpus, section.memory, gpus)
    environment = {
        "COVEY_HOME": inside.home,
        **ENVIRONMENT,
        "OMP_NUM_THREADS": str(max(1, int(cpus))),
    }
    volumes = [
        {"name": "home", "persistentVolumeClaim": {"claimName": section.claim}},
        *([inside.files] if inside.files else []),
        scratch("tmp", "10Gi"),
        scratch("shm", section.shared_memory, in_memory=True),
    ]
    places = {**MOUNTS, "home": inside.home}
    mounts = {volume["name"]: places[volume["name"]] for volume in volumes}
    ray = container("ray", section.image, takes, mounts, environment, read_only=("job",))
    ray |= variables_of(section)
    pod = template(labels_of(job), [ray], volumes, restart="Never", knows_cluster=knows_cluster)
    pod["spec"] |= account_of(section)
    if inside.grace_s is not None:
        pod["spec"]["terminationGracePeriodSeconds"] = inside.grace_s
    return pod


def _submitter(job: JobFile, section: KubernetesSection) -> Manifest:
    """The pod that hands the job over and follows its log."""
    takes = resources(0.5, "512Mi")
    mounts = {"tmp": "/tmp"}
    submitter = container("ray-job-submitter", section.image, takes, mounts, {"HOME": "/tmp"})
    return template(labels_of(job), [submitter], [scratch("tmp", "1Gi")], restart="Never")
