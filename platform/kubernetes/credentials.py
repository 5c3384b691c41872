"""Who a job's pods are to an object store: Secrets, the keys of which are environment variables in
them, or their service account. A manifest names them, and never holds what is in them.
"""

from covey.platform.jobfile.kubernetes_section import KubernetesSection
from covey.platform.jobfile.model import JobFile
from covey.platform.kubernetes.pods import Manifest


def variables_of(section: KubernetesSection) -> Manifest:
    """Of a container that trains or writes checkpoints; variables of `env` go before these."""
    sources = [{"secretRef": {"name": name}} for name in section.secrets or ()]
    return {"envFrom": sources} if sources else {}


def account_of(section: KubernetesSection) -> Manifest:
    """Of a pod with such a container. It has no token for the cluster by that: a cloud's own way of
    telling workloads apart brings its tokens itself.
    """
    return {"serviceAccountName": section.service_account} if section.service_account else {}


def store_note(job: JobFile) -> str | None:
    """What may be amiss where checkpoints go to an object store; None where nothing seems to be."""
    section, path = job.kubernetes or KubernetesSection(), job.checkpoint.path
    if path is None or "://" not in path or section.secrets or section.service_account:
        return None
    return (
        f"checkpoint.path: {path} knows the pods by their nodes alone, unless kubernetes.secrets "
        "or kubernetes.service_account is set"
    )
