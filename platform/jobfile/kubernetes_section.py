"""The `kubernetes:` section of a job file: where and in which pods a job runs on such a cluster."""

from typing import Annotated

from pydantic import Field

from covey.platform.jobfile.section import Count, Positive, Section

Label = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
ObjectName = Annotated[
    str,
    Field(
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
]
Quantity = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}(Ki|Mi|Gi|Ti)$")]
IMAGE = "covey:0.1"


class KubernetesSection(Section):
    """Read by `covey render` and a scheduler on Kubernetes; everything else leaves it alone."""

    image: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^\S+$")] = IMAGE
    """With Covey in it, as `deploy/Dockerfile` makes it."""
    namespace: Label = "default"
    """A scheduler works in its own; another than that or "default" is refused there."""
    claim: Label = "covey"
    """A PersistentVolumeClaim that all pods may write: run folders and data sets."""
    pod_cpus: Positive | None = None
    """CPU cores of a pod. The job's `resources.cpus` are spread over as many pods as that takes;
    over one if left out. The job's GPUs are the first pod's.
    """
    max_pods: Count | None = None
    """Ray's autoscaler adds pods up to this many, and takes them away again; none if left out."""
    memory: Quantity = "8Gi"
    """Of a pod, what it shares included."""
    shared_memory: Quantity = "2Gi"
    """Of a pod, for Ray's object store and what actors on one node share."""
    secrets: Annotated[list[ObjectName], Field(min_length=1)] | None = None
    """Secrets whose keys become environment variables of the pods that train: an object store's
    credentials.
    """
    service_account: ObjectName | None = None
    """Of the pods that train, for a store that knows them by it; the namespace's own if left out.
    """
    queue: Label | None = None
    """A Kueue LocalQueue that the job waits in."""
    priority_class: Label | None = None
    """A Kueue WorkloadPriorityClass; only with `queue`."""
    sites: Annotated[list[Label], Field(min_length=1)] | None = None
    """Only for `--target flower`: the names of the sites, one a client; site-0 and so on if left
    out.
    """
