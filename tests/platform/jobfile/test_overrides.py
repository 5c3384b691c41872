"""`--set key=value` changes a job, and its mistakes name the override in a line's place."""

from collections.abc import Callable
from pathlib import Path

import pytest

from covey.platform.jobfile.load import load_job_file

Problems = Callable[..., list[str]]


def test_overrides_are_read_as_yaml_and_the_last_one_counts(
    job_file: Callable[[str], Path], orchard_text: str
) -> None:
    overrides = [
        "seed=1",
        "seed=2",
        "stop.accuracy=9e-1",
        "stop.rounds=null",
        "tree-growing.algorithm={name: graft, heat: 1e-3}",
        "tree-growing.weather.options.wind.speed=[1, 2.5, strong]",
        "code=",
    ]
    job = load_job_file(job_file(orchard_text), overrides)
    assert (job.seed, job.stop.accuracy, job.stop.rounds, job.code) == (2, 0.9, None, None)
    assert job.section.algorithm.heat == 0.001
    assert job.section.weather.options == {"wind": {"speed": [1, 2.5, "strong"]}}


def test_an_override_can_fill_an_empty_section(
    job_file: Callable[[str], Path], orchard_text: str
) -> None:
    path = job_file(orchard_text + "resources:\n")
    assert load_job_file(path, ["resources.cpus=2"]).resources.cpus == 2


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("sed=7", "sed: unknown key, nearest is seed; "),
        ("grace_s=60s", "grace_s: found '60s', allowed is a number of seconds > 0; write 60"),
        ("resources={cpu: 1}", "resources.cpu: unknown key, nearest is cpus; "),
        (
            "tree-growing.algorithm.dept=3",
            "tree-growing.algorithm.dept: unknown key, nearest is depth",
        ),
        ("name.x=3", "name.x: cannot be set, since name is 'apples-1', no section"),
        ("seed", "seed: found 'seed', allowed is key=value with a key such as stop.env_steps"),
        ("=3", "'': found '=3', allowed is key=value with"),
        ("a..b=3", "a.''.b: found 'a..b=3', allowed is key=value with"),
        ("seed=[", "seed: found '[', which is not YAML: "),
        ("seed=&a [*a]", "seed: found '&a [*a]', which is nested deeper than 40 levels"),
        ("seed=\udcff", "seed: found '\\udcff', which is not Unicode text"),
        ("resources={cpus: 1, cpus: 2}", "resources.cpus: stands twice"),
        (".".join("a" * 100) + "=1", ".".join("a" * 40) + ": found 'a.a.a"),
    ],
)
def test_a_wrong_override(problems: Problems, orchard_text: str, override: str, line: str) -> None:
    [found] = problems(orchard_text, override)
    place, _, rest = found.partition(f", --set {override[:100]}: ")
    assert place == "job.yaml"
    assert rest.startswith(line)


def test_lines_of_what_was_replaced_are_forgotten(problems: Problems, orchard_text: str) -> None:
    [line] = problems(orchard_text, "tree-growing.algorithm={name: prune, depth: x}")
    assert line.startswith("job.yaml, --set tree-growing.algorithm={name: prune, depth: x}: ")
    assert ": tree-growing.algorithm.depth: found 'x'" in line
