"""The parts of the study: which rows are compared in which settings. A row is a label and what it
puts into the `federated:` section of the study's job file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from covey.platform.errors import UserError
from covey.platform.jobfile.nearest import nearest


@dataclass(frozen=True, order=True)
class Setting:
    """A data set by name, dealt out to the clients by Dirichlet(alpha)."""

    data: str
    alpha: float

    def __str__(self) -> str:
        return f"{self.data}, alpha {self.alpha:g}"


@dataclass(frozen=True)
class Row:
    """One of those compared: the keys that it puts into the section, and the label of the row that
    it is measured against.
    """

    label: str
    section: Mapping[str, Any] = field(hash=False)
    against: str = "fedavg"


@dataclass(frozen=True)
class Part:
    """Every row in every setting, with so many seeds."""

    rows: tuple[Row, ...]
    settings: tuple[Setting, ...]
    seeds: int = 5


METHODS: dict[str, dict[str, Any]] = {
    name: {"name": name}
    for name in ("fedavg", "fedprox", "fedensemble", "feddistill", "feddistill+", "feddf", "fedgen")
}
METHODS["fedprox"]["mu"] = 1.0
METHODS["feddistill+"]["weight"] = 0.3
METHODS["feddf"]["learning_rate"] = 1e-4
"""The strategies that are compared: the `strategy:` section of each. FedProx's mu is that of the
code of Zhu et al. 2021. On other partitions than the study's, of MNIST at alpha 0.05 and 0.1,
FedDistill+ did better with 0.3 than with the code's 1, and FedDF with 1e-4 than with its own 1e-3,
with which it fell behind FedAvg.
"""


def _row(label: str, method: str, against: str = "fedavg", **options: Any) -> Row:
    return Row(label, {"strategy": {**METHODS[method], **options}}, against)


def _pair(name: str, section: Mapping[str, Any], **fedgen: Any) -> tuple[Row, Row]:
    """FedAvg and FedGen, each with something else beside it."""
    base, ours = f"fedavg, {name}", f"fedgen, {name}"
    strategy = {**METHODS["fedgen"], **fedgen}
    return (
        Row(base, {"strategy": METHODS["fedavg"], **section}, base),
        Row(ours, {**section, "strategy": strategy}, base),
    )


def _poisoned(strategy: Mapping[str, Any]) -> tuple[Row, Row]:
    """Two of ten clients mean harm. All ten train in every round: two of ten each time."""
    section = {"strategy": strategy, "clients": 10, "faults": {"malicious": MALICIOUS}}
    return _pair(f"{strategy['name']}, 2 of 10 poisoned", section, average=strategy)


MALICIOUS = {"clients": 2, "attack": "sign-flip", "scale": 2.0}
STRAGGLERS = {"fraction": 0.3, "delay_s": 30.0, "distribution": "exponential"}
NOISE = {"clipping": "fixed", "clipping_norm": 1.0, "noise_multiplier": 0.1}
HARD = Setting("mnist", 0.1)

PARTS: dict[str, Part] = {
    "table": Part(
        tuple(_row(name, name) for name in METHODS),
        (
            Setting("mnist", 0.05),
            HARD,
            Setting("mnist", 10.0),
            Setting("fashion-mnist", 0.1),
            Setting("fashion-mnist", 10.0),
        ),
    ),
    "head": Part(
        tuple(
            _row(name, name, share="head")
            for name in ("fedavg", "fedprox", "feddistill+", "fedgen")
        ),
        (HARD,),
    ),
    "ablations": Part(
        (
            _row("fedavg", "fedavg"),
            _row("fedgen", "fedgen"),
            _row("frozen generator", "fedgen", ablation="frozen-generator"),
            # The distance to what a generator says smooths labels, whatever it says.
            _row("latents alone", "fedgen", distillation_weight=0.0),
            _row(
                "latents alone, frozen generator",
                "fedgen",
                distillation_weight=0.0,
                ablation="frozen-generator",
            ),
            _row("permuted labels", "fedgen", ablation="permuted-labels"),
            _row("label counts withheld", "fedgen", label_counts="withheld"),
            _row("no diversity", "fedgen", diversity=0.0),
            _row("both weights 0", "fedgen", latent_weight=0.0, distillation_weight=0.0),
        ),
        (HARD,),
    ),
    "pairs": Part(
        (
            *_poisoned({"name": "krum", "malicious": 2}),
            *_poisoned({"name": "multi-krum", "malicious": 2}),
            *_pair("top-k 0.1", {"compression": {"kind": "top-k", "fraction": 0.1}}),
            *_pair(
                "fedbuff",
                {"strategy": {"name": "fedbuff"}, "faults": {"stragglers": STRAGGLERS}},
                average={"name": "fedbuff"},
            ),
            *_pair("private", {"differential_privacy": NOISE}, label_counts="withheld"),
        ),
        (HARD,),
        seeds=3,
    ),
}


def narrowed(
    part: Part,
    methods: Sequence[str] = (),
    data: Sequence[str] = (),
    alphas: Sequence[float] = (),
    seeds: int | None = None,
) -> Part:
    """The part with the rows of those labels only, and in settings of those data and alphas.

    An alpha that is given goes with every data set; else a data set has those that the part gives
    it, and one that is none of the part's has all of the part's. UserError for an unknown label.
    """
    labels = tuple(row.label for row in part.rows)
    wanted = checked("--method", methods or labels, labels)
    known = {setting.alpha for setting in part.settings}
    settings: list[Setting] = []
    for name in data or dict.fromkeys(setting.data for setting in part.settings):
        own = {setting.alpha for setting in part.settings if setting.data == name}
        settings += [Setting(name, alpha) for alpha in sorted(alphas or own or known)]
    rows = tuple(row for row in part.rows if row.label in wanted)
    return Part(rows, tuple(dict.fromkeys(settings)), seeds or part.seeds)


def checked(option: str, words: Iterable[str], known: Iterable[str]) -> list[str]:
    """The words, if all are known; UserError with the nearest that is."""
    words, known = list(words), list(known)
    for word in words:
        if word not in known:
            near = nearest(word, known)
            raise UserError(
                f"{option} {word}: allowed are {', '.join(known)}"
                + (f"; nearest is {near}" if near else "")
            )
    return words
