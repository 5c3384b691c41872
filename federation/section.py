"""The `federated:` section of a job file, and what must hold between its keys."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from covey.federation.app_folder import ConfigValue, read_app_folder
from covey.federation.catalogue import DATA_SETS
from covey.federation.superlink_section import SuperLinkSection, resolve_superlink
from covey.platform.errors import KeyProblem
from covey.platform.jobfile.model import Count, Positive, Section
from covey.platform.jobfile.nearest import nearest
from covey.platform.jobfile.words import found

BUILT_IN_APPS = ("logistic", "mlp")


class PartitionSection(Section):
    """How the training data is dealt out to the clients."""

    kind: Literal["iid", "dirichlet"] = "iid"
    """iid: equal random shares. dirichlet: classes in proportions drawn from Dirichlet(alpha)."""
    alpha: Positive | None = None
    """Only for dirichlet, 0.5 if left out: small means few classes a client, large approaches iid.
    """
    min_size: Count = 1
    """Samples that every client gets at least."""


class DataSection(Section):
    """Which data set the built-in apps train on."""

    name: Literal["digits", "mnist", "fashion-mnist"]
    partition: PartitionSection = PartitionSection()


class LocalSection(Section):
    """What a client of a built-in app does in a round. Either `epochs` or `steps`.

    1 epoch if neither.
    """

    epochs: Count | None = None
    """Passes over the client's data."""
    steps: Count | None = None
    """Mini-batch steps; the client goes over its data again when it has reached the end."""
    batch_size: Count = 32
    learning_rate: Positive = 0.05


class StrategySection(Section):
    """How the server combines what clients of a built-in app send back."""

    name: Literal["fedavg"] = "fedavg"


class FederatedSection(Section):
    """A federated job: a Flower app, built in or a folder, and the clients it runs on."""

    app: str
    """logistic, mlp, or the folder of a Flower app (with a pyproject.toml), relative to the job
    file.
    """
    clients: Count
    """Clients in the population."""
    engine: Literal["inline", "superlink"] = "inline"
    """What runs the clients. inline: this process. superlink: a real SuperLink with SuperNodes."""
    superlink: SuperLinkSection | None = None
    """Only for engine superlink."""
    cohort: Count | None = None
    """Clients that train in a round. All if left out; with an app folder, as its strategy says."""
    data: DataSection | None = None
    """Built-in apps need it; an app folder brings its own."""
    local: LocalSection | None = None
    """Built-in apps only."""
    strategy: StrategySection | None = None
    """Built-in apps only."""
    evaluate_every: Count = 1
    """Rounds between evaluations on the server; the last round is always evaluated."""
    run_config: dict[str, ConfigValue] = Field(default_factory=dict)
    """App folders only: values for keys of [tool.flwr.app.config] in its pyproject.toml."""


def resolve_section(section: FederatedSection, base: Path) -> FederatedSection:
    """The section with defaults and absolute paths; raises KeyProblem for what cannot be."""
    if section.cohort is not None and section.cohort > section.clients:
        raise _problem("cohort", f"found {section.cohort}, more than clients ({section.clients})")
    if section.engine == "superlink":
        superlink = resolve_superlink(section.superlink, section.clients, base)
        section = section.model_copy(update={"superlink": superlink})
    elif section.superlink is not None:
        raise _problem("superlink", "is for engine: superlink")
    if section.app in BUILT_IN_APPS:
        return _resolve_built_in(section)
    return _resolve_folder(section, base)


def _resolve_built_in(section: FederatedSection) -> FederatedSection:
    if section.data is None:
        raise _problem(
            "data", f"is missing; write data: {{name: ...}}, one of {', '.join(DATA_SETS)}"
        )
    if section.run_config:
        raise _problem(
            "run_config", "is for app folders; built-in apps have data, local and strategy"
        )
    local = section.local or LocalSection()
    if local.epochs is not None and local.steps is not None:
        raise KeyProblem(
            ("federated", "local", "steps"), "cannot stand beside epochs; leave one of them out"
        )
    if local.epochs is None and local.steps is None:
        local = local.model_copy(update={"epochs": 1})
    return section.model_copy(
        update={
            "cohort": section.cohort or section.clients,
            "data": _resolve_data(section.data, section.clients),
            "local": local,
            "strategy": section.strategy or StrategySection(),
        }
    )


def _resolve_data(data: DataSection, clients: int) -> DataSection:
    partition = data.partition
    needed, samples = clients * partition.min_size, DATA_SETS[data.name].train
    if needed > samples:
        raise KeyProblem(
            ("federated", "data", "partition", "min_size"),
            f"found {partition.min_size}, but {clients} clients with that many need {needed} "
            f"samples and {data.name} has {samples}",
        )
    if partition.kind == "iid" and partition.alpha is not None:
        raise KeyProblem(
            ("federated", "data", "partition", "alpha"),
            "is for kind dirichlet; leave it out for iid",
        )
    if partition.kind == "dirichlet" and partition.alpha is None:
        partition = partition.model_copy(update={"alpha": 0.5})
    return data.model_copy(update={"partition": partition})


def _resolve_folder(section: FederatedSection, base: Path) -> FederatedSection:
    folder = Path(base, Path(section.app).expanduser()).absolute()
    if not folder.is_dir():
        near = nearest(section.app, BUILT_IN_APPS)
        raise _problem(
            "app",
            f"found {found(section.app)}, allowed is {', '.join(BUILT_IN_APPS)} or a folder "
            f"relative to {base}" + (f"; nearest is {near}" if near else ""),
        )
    for key in ("data", "local", "strategy"):
        if getattr(section, key) is not None:
            raise _problem(key, "is for built-in apps; an app folder says that in its own code")
    read_app_folder(folder).configured(section.run_config)
    return section.model_copy(update={"app": str(folder)})


def _problem(key: str, message: str) -> KeyProblem:
    return KeyProblem(("federated", key), message)
