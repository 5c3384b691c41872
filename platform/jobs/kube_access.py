"""The way to Kubernetes' API server: the official client, and how it is told where to go.

In a pod that is the pod's service account, elsewhere a kubeconfig (`KUBECONFIG`).
"""

from importlib import import_module
from typing import Any

from covey.platform.errors import UserError
from covey.platform.jobfile.words import one_line


def library(name: str) -> Any:
    """Imported when it is first needed: it takes most of a second."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"a Kubernetes cluster is reached with the package `kubernetes`, and {error.name} is "
            "missing: pip install kubernetes"
        ) from error


def configured(client: Any, context: str | None) -> tuple[Any, bool]:
    """How to reach the server, and whether this is a pod of the cluster itself."""
    config = library("kubernetes.config")
    configuration = client.Configuration()
    if context is None:
        try:
            config.load_incluster_config(client_configuration=configuration)
            return configuration, True
        except config.ConfigException:
            pass
    try:
        config.load_kube_config(
            context=context, client_configuration=configuration, persist_config=False
        )
    except (config.ConfigException, OSError, ValueError) as error:
        raise UserError(
            f"no way to a Kubernetes cluster: no service account here, and the kubeconfig "
            f"(KUBECONFIG, else ~/.kube/config): {one_line(str(error))}"
        ) from error
    return configuration, False
