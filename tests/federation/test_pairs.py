"""What the README says goes together does, and what it says does not is refused."""

from pathlib import Path

import pytest

from covey.federation.strategies.resolve import OPTIONS
from covey.platform.errors import UserError

README = Path(__file__).parents[2] / "README.md"
LOCAL = {"steps": 2, "batch_size": 16, "learning_rate": 0.05}
SECTION = {
    "cohort": 5,
    "local": LOCAL,
    "data": {"name": "digits", "public": 0.1, "partition": {"kind": "dirichlet", "alpha": 0.1}},
}
COLUMNS = {
    "FedBuff": ({"average": {"name": "fedbuff"}}, {}),
    "robust": ({"average": {"name": "median"}}, {}),
    "compression": ({}, {"compression": {"kind": "top-k", "fraction": 0.2}}),
    "privacy": ({}, {"differential_privacy": {"clipping": "fixed"}}),
    "one layer": ({"share": "head"}, {}),
}
SMALL = {"hidden": 16, "generator_steps": 3}


def table():
    """(strategy, column, yes or no) of every cell of the table that has one."""
    lines = README.read_text().splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("| `strategy:`"))
    names = [cell.strip() for cell in lines[head].strip("|").split("|")][2:]
    found = []
    for line in lines[head + 2 :]:
        if not line.startswith("|"):
            break
        strategy, _, *cells = (cell.strip(" `") for cell in line.strip("|").split("|"))
        pairs = zip(names, cells, strict=True)
        found += [(strategy, name, cell) for name, cell in pairs if cell != "-"]
    return found


TABLE = table()


def test_the_table_is_whole():
    assert {name for _, name, _ in TABLE} == set(COLUMNS)
    assert {answer for _, _, answer in TABLE} == {"yes", "no"}
    assert {name for name, _, _ in TABLE} == {name for name in OPTIONS if _is_distillation(name)}
    assert len(TABLE) == 5 * 5 - 3


def _is_distillation(name):
    module = OPTIONS[name].__module__.rpartition(".")[2]
    return module in ("distilling", "ensembling", "label_logits")


@pytest.mark.parametrize(("name", "column", "answer"), TABLE)
def test_what_the_readme_says_of_a_pair_is_so(train, name, column, answer):
    options, more = COLUMNS[column]
    strategy = {"name": name, **(SMALL if name == "fedgen" else {}), **options}
    if (name, column) == ("fedgen", "privacy"):
        strategy["label_counts"] = "withheld"
    section = {**SECTION, "strategy": strategy, **more}
    if answer == "no":
        with pytest.raises(UserError, match=r"federated\.(strategy|compression|differential)"):
            train("mlp", clients=6, rounds=2, federated=section)
        return
    run = train("mlp", clients=6, rounds=2, federated=section)
    assert [line["clients"] for line in run.metrics[-2:]] == [5, 5]
    plain = train("mlp", clients=6, rounds=2, federated={**SECTION, "strategy": {"name": name}})
    assert run.model != plain.model
