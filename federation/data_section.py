"""The `data:` part of a federated job file: which data set, dealt out how, and what must hold."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from covey.federation.array_folder import open_folder
from covey.federation.catalogue import DATA_SETS
from covey.federation.sample_spec import SMALLEST_IMAGE, image_size
from covey.platform.errors import KeyProblem, UserError
from covey.platform.jobfile.model import Count, Positive, Section

KEY = ("federated", "data")
OF_IMAGES = ("cnn", "strided-cnn")
"""The built-in apps that need to know how a sample's pixels lie."""
PARTITION = (*KEY, "partition")
OPTIONS = {"dirichlet": "alpha", "quantity": "alpha", "classes": "classes_per_client"}
"""The option that belongs to a kind of partition; the other kinds have none."""
ALPHA = 0.5
CLASSES_PER_CLIENT = 2  # as in McMahan et al. 2017


class PartitionSection(Section):
    """How the training data is dealt out to the clients."""

    kind: Literal["iid", "dirichlet", "classes", "quantity", "natural"] = "iid"
    """iid: equal random shares. dirichlet: classes in proportions drawn from Dirichlet(alpha).
    classes: a few classes a client. quantity: random samples, in numbers drawn from
    Dirichlet(alpha). natural: by the clients that the data set names (train_client.npy).
    """
    alpha: Positive | None = None
    """Only for dirichlet and quantity, 0.5 if left out: small means few classes a client, or few
    clients with nearly everything; large approaches iid.
    """
    classes_per_client: Count | None = None
    """Only for classes, 2 if left out."""
    min_size: Count = 1
    """Samples that every client gets at least, before any are held out."""


class DataSection(Section):
    """Which data set the built-in apps train on: `name` or `path`."""

    name: Literal["digits", "mnist", "fashion-mnist"] | None = None
    path: str | None = None
    """A folder with train_x.npy, train_y.npy, test_x.npy and test_y.npy, relative to the job file;
    train_client.npy in it names the client of each training sample.
    """
    partition: PartitionSection = PartitionSection()
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0
    """Share of its samples that each client keeps to be evaluated on."""

    @property
    def source(self) -> str:
        """What `data.load` calls it; resolved sections have one."""
        source = self.path if self.name is None else self.name
        assert source is not None
        return source


def resolve_data(data: DataSection, app: str, clients: int, base: Path) -> DataSection:
    """The section with defaults and an absolute path; raises KeyProblem for what cannot be.

    Of a folder the headers are read: what depends on its labels is found when training begins.
    """
    if (data.name is None) == (data.path is None):
        raise KeyProblem(
            KEY if data.name is None else (*KEY, "path"),
            f"needs name (one of {', '.join(DATA_SETS)}) or path (a folder of arrays)"
            if data.name is None
            else "cannot stand beside name; leave one of them out",
        )
    if data.path is not None:
        path = Path(base, Path(data.path).expanduser()).absolute()
        data = data.model_copy(update={"path": str(path)})
    samples, sizes, named = _facts(data)
    _check_app(app, sizes, data.source)
    _check_partition(data, clients, samples, named)
    return data.model_copy(update={"partition": _with_option(data.partition)})


def _facts(data: DataSection) -> tuple[int, tuple[int, ...], bool]:
    """Training samples, sizes of one, and whether the data names the clients they come from."""
    if data.name is not None:
        known = DATA_SETS[data.name]
        return known.train, (known.height, known.width), False
    try:
        folder = open_folder(Path(data.source))
    except UserError as error:
        raise KeyProblem((*KEY, "path"), str(error)) from None
    return len(folder.train_y), folder.sizes, folder.train_client is not None


def _check_app(app: str, sizes: tuple[int, ...], source: str) -> None:
    image = image_size(sizes)
    if app in OF_IMAGES and (image is None or min(image.height, image.width) < SMALLEST_IMAGE):
        look = f"images of {sizes[0]} by {sizes[1]}" if image else f"{sizes[0]} flat features"
        raise KeyProblem(
            ("federated", "app"),
            f"{app} needs images of {SMALLEST_IMAGE} by {SMALLEST_IMAGE} or more, samples of "
            f"{source} are {look}; use mlp or logistic",
        )


def _check_partition(data: DataSection, clients: int, samples: int, named: bool) -> None:
    partition = data.partition
    for option in sorted(set(OPTIONS.values())):
        kinds = [kind for kind, its in OPTIONS.items() if its == option]
        if getattr(partition, option) is not None and partition.kind not in kinds:
            raise KeyProblem(
                (*PARTITION, option),
                f"is for kind {' and '.join(kinds)}; leave it out for {partition.kind}",
            )
    needed = clients * partition.min_size
    if needed > samples:
        raise KeyProblem(
            (*PARTITION, "min_size"),
            f"found {partition.min_size}, but {clients} clients with that many need {needed} "
            f"samples and {data.source} has {samples}",
        )
    if partition.kind == "natural" and not named:
        raise KeyProblem(
            (*PARTITION, "kind"),
            f"natural needs to know the client of each sample, which {data.source} does not tell; "
            "put train_client.npy into a folder of arrays (data: {path: ...})",
        )


def _with_option(partition: PartitionSection) -> PartitionSection:
    defaults = {"alpha": ALPHA, "classes_per_client": CLASSES_PER_CLIENT}
    option = OPTIONS.get(partition.kind)
    if option is None or getattr(partition, option) is not None:
        return partition
    return partition.model_copy(update={option: defaults[option]})
