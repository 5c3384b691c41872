"""The `federated:` section of a job file, and what must hold between its keys."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from covey.federation.app_folder import ConfigValue, read_app_folder
from covey.federation.catalogue import DATA_SETS
from covey.federation.compression_section import CompressionSection
from covey.federation.data_section import DataSection, resolve_data
from covey.federation.privacy_section import PrivacySection
from covey.federation.rounds_section import (
    EarlyStopSection,
    FaultsSection,
    RoundSection,
    SamplingSection,
    resolve_sampling,
)
from covey.federation.strategies.averaging import FedAvgOptions
from covey.federation.strategies.buffered import FedBuffOptions
from covey.federation.strategies.distilling import FedGenOptions
from covey.federation.strategies.registry import StrategySection
from covey.federation.strategies.resolve import check_strategy
from covey.federation.superlink_section import SuperLinkSection, resolve_superlink
from covey.platform.errors import KeyProblem
from covey.platform.jobfile.model import Count, Positive, Section
from covey.platform.jobfile.nearest import nearest
from covey.platform.jobfile.words import found
from covey.platform.sent_folders import is_here

BUILT_IN_APPS = ("logistic", "mlp", "cnn", "strided-cnn")
HIDDEN = 128
"""Units of an mlp whose job says nothing of them."""


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
    order: Literal["shuffled", "by-label"] = "shuffled"
    """In which minibatches hold the client's data. shuffled: a new order in every pass. by-label:
    one label after the other, from a random place in each round, as where data lies sorted and
    nobody shuffles it.
    """


class ViewerSection(Section):
    """The pictures in the run folder, drawn anew while the run goes on."""

    every_s: Positive | None = 10.0
    """Between two drawings, and 20 times as long as one takes; none if null."""


class FederatedSection(Section):
    """A federated job: a Flower app, built in or a folder, and the clients it runs on."""

    app: str
    """logistic, mlp, cnn, strided-cnn, or the folder of a Flower app (with a pyproject.toml),
    relative to the job file.
    """
    hidden: Count | None = None
    """Only for app mlp: hidden units, 128 if left out."""
    engine: Literal["inline", "actors", "cohort", "superlink"] = "inline"
    """Who runs the clients. inline: this process, one after the other. actors: Ray actors. cohort:
    this process, all clients of a round as one program of batched tensors: the built-in apps, and
    app folders that give their local training as a pure function; others run in actors. superlink:
    a real SuperLink with SuperNodes. The results are the same, up to rounding with cohort, and with
    superlink for an app that seeds itself.
    """
    actors: Count | None = None
    """With engine actors: how many, one for each of resources.cpus if left out."""
    clients: Count
    """Clients in the population."""
    superlink: SuperLinkSection | None = None
    """Only for engine superlink."""
    cohort: Count | None = None
    """Clients that train in a round. All if left out; with an app folder, as its strategy says."""
    data: DataSection | None = None
    """Built-in apps need it; an app folder brings its own."""
    local: LocalSection | None = None
    """Built-in apps only."""
    strategy: StrategySection | None = None
    """Built-in apps only: how the server combines what clients send back. FedAvg if left out."""
    differential_privacy: PrivacySection | None = None
    """Built-in apps only: clipped updates and noise on the server, with an account of epsilon."""
    compression: CompressionSection | None = None
    """Built-in apps only; other apps have the mods of covey.federation.compression."""
    evaluate_every: Count = 1
    """Rounds between evaluations on the server, or on the clients where each has a model of its
    own; the last round is always evaluated.
    """
    evaluate_clients: bool | Literal["all"] = False
    """Built-in apps only: measure each round's model on what clients have held out. true: on as
    many clients as a cohort has, drawn anew; all: on all of them.
    """
    round: RoundSection | None = None
    """Time limits, the replies a round needs, and how often it is tried."""
    sampling: SamplingSection | None = None
    """Which clients train in a round; as the strategy says if left out."""
    faults: FaultsSection | None = None
    """Simulated dropouts and stragglers."""
    early_stop: EarlyStopSection | None = None
    """End the training when a metric has stopped getting better."""
    viewer: ViewerSection = ViewerSection()
    run_config: dict[str, ConfigValue] = Field(default_factory=dict)
    """App folders only: values for keys of [tool.flwr.app.config] in its pyproject.toml."""


def resolve_section(section: FederatedSection, base: Path) -> FederatedSection:
    """The section with defaults and absolute paths; raises KeyProblem for what cannot be."""
    if section.cohort is not None and section.cohort > section.clients:
        raise _problem("cohort", f"found {section.cohort}, more than clients ({section.clients})")
    if section.actors is not None and section.engine != "actors":
        raise _problem("actors", f"is for engine actors, and engine is {section.engine}")
    if section.hidden is not None and section.app != "mlp":
        raise _problem("hidden", f"is for app mlp, and app is {section.app}")
    malicious = section.faults and section.faults.malicious
    if malicious and malicious.clients >= section.clients:
        raise KeyProblem(
            ("federated", "faults", "malicious", "clients"),
            f"found {malicious.clients}, but somebody must be honest among {section.clients}",
        )
    section = section.model_copy(update={"sampling": resolve_sampling(section.sampling)})
    if section.engine == "superlink":
        superlink = resolve_superlink(section.superlink, section.clients, base)
        section = section.model_copy(update={"superlink": superlink})
    elif section.superlink is not None:
        raise _problem("superlink", "is for engine: superlink")
    if section.app in BUILT_IN_APPS:
        return _resolve_built_in(section, base)
    return _resolve_folder(section, base)


def _resolve_built_in(section: FederatedSection, base: Path) -> FederatedSection:
    if section.data is None:
        raise _problem(
            "data",
            f"is missing; write data: {{name: ...}}, one of {', '.join(DATA_SETS)}, or "
            "{path: ...}, a folder of arrays",
        )
    if section.run_config:
        raise _problem(
            "run_config", "is for app folders; built-in apps have data, local and strategy"
        )
    if section.evaluate_clients and section.data.held_out == 0:
        raise _problem("evaluate_clients", "needs data: {held_out: ...}, e.g. 0.2; found 0")
    if section.evaluate_clients and section.strategy and section.strategy.share != "all":
        raise _problem(
            "evaluate_clients",
            "is of a model that all share; where clients have layers of their own, all of them "
            "measure their models on the test samples anyway",
        )
    local = section.local or LocalSection()
    if local.epochs is not None and local.steps is not None:
        raise KeyProblem(
            ("federated", "local", "steps"), "cannot stand beside epochs; leave one of them out"
        )
    if local.epochs is None and local.steps is None:
        local = local.model_copy(update={"epochs": 1})
    strategy = section.strategy or FedAvgOptions(name="fedavg")
    cohort = section.cohort or section.clients
    beside = section.differential_privacy, section.compression
    check_strategy(strategy, *beside, cohort, section.app, section.data.public)
    if isinstance(inner := strategy.inner, FedBuffOptions):
        min_replies = (section.round and section.round.min_replies) or 1
        inner = inner.resolved(cohort, section.clients, min_replies)
        outer = isinstance(strategy, FedGenOptions)
        strategy = strategy.model_copy(update={"average": inner}) if outer else inner
    return section.model_copy(
        update={
            "cohort": cohort,
            "data": resolve_data(section.data, section.app, section.clients, base),
            "local": local,
            "strategy": strategy,
        }
    )


def _resolve_folder(section: FederatedSection, base: Path) -> FederatedSection:
    folder = folder_of_app(section.app, base, "federated")
    for key in ("data", "local", "strategy", "differential_privacy", "compression"):
        if getattr(section, key) is not None:
            raise _problem(key, "is for built-in apps; an app folder says that in its own code")
    if section.evaluate_clients:
        raise _problem("evaluate_clients", "is for built-in apps; an app's strategy decides that")
    read_app_folder(folder).configured(section.run_config)
    return section.model_copy(update={"app": str(folder)})


def folder_of_app(app: str, base: Path, section: str) -> Path:
    """The absolute folder of an app that is not built in; KeyProblem if there is none."""
    folder = Path(base, Path(app).expanduser()).absolute()
    if not is_here(folder):
        near = nearest(app, BUILT_IN_APPS)
        raise KeyProblem(
            (section, "app"),
            f"found {found(app)}, allowed is {', '.join(BUILT_IN_APPS)} or a folder "
            f"relative to {base}" + (f"; nearest is {near}" if near else ""),
        )
    return folder


def _problem(key: str, message: str) -> KeyProblem:
    return KeyProblem(("federated", key), message)
