"""Each wrong key is one line: file, line, key, what was found, what is allowed, nearest name."""

from collections.abc import Callable

import pytest

Problems = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("sed: 7", "sed: unknown key, nearest is seed; allowed are name, workload, seed,"),
        ("SEED: 7", "SEED: unknown key, nearest is seed; "),
        ("depth: 7", "depth: unknown key, nearest is tree-growing.algorithm.depth; "),
        ("rounds: 7", "rounds: unknown key, nearest is stop.rounds; "),
        ("xyzzy: 7", "xyzzy: unknown key; allowed are name, workload, seed,"),
        ("'a b': 7", "'a b': unknown key; "),
        ("rl: {}", "rl: another workload's section, but this job's workload is tree-growing"),
        ("seed: -1", "seed: found -1, allowed is a whole number >= 0 and < 9223372036854775808"),
        (
            "seed: '7'",
            "seed: found '7', allowed is a whole number >= 0 and < 9223372036854775808; write 7",
        ),
        ("seed: 1e3", "seed: found 1000.0, allowed is a whole number"),
        ("seed: true", "seed: found true, allowed is a whole number"),
        ("seed:", "seed: found nothing, allowed is a whole number"),
        ("seed: 2026-11-22", "seed: found '2026-11-22', allowed is a whole number"),
        ("seed: " + "9" * 6000, "seed: found a whole number of more than 63 bits"),
        ("seed: !!float 7", "seed: found the tag !!float, allowed are plain values without tags"),
        ("seed: !mine {}", "seed: found the tag !mine, allowed are plain values without tags"),
        ("deterministic: perhaps", "deterministic: found 'perhaps', allowed is true or false"),
        ("grace_s: 60s", "grace_s: found '60s', allowed is a number of seconds > 0; write 60"),
        ("grace_s: 1h", "grace_s: found '1h', allowed is a number of seconds > 0; write 3600"),
        (
            "grace_s: 1.5 min",
            "grace_s: found '1.5 min', allowed is a number of seconds > 0; write 90",
        ),
        (
            "grace_s: 2 hours",
            "grace_s: found '2 hours', allowed is a number of seconds > 0; write 7200",
        ),
        (
            "grace_s: 1:00:00",
            "grace_s: found '1:00:00', allowed is a number of seconds > 0; write 3600",
        ),
        ("grace_s: 500ms", "grace_s: found '500ms', allowed is a number of seconds > 0; write 0.5"),
        ("grace_s: .nan", "grace_s: found nan, allowed are finite numbers"),
        ("grace_s: 1e999", "grace_s: found inf, allowed are finite numbers"),
        ("resources: 2", "resources: found 2, allowed is a section with the keys cpus, gpus"),
        ("resources: {cpus: 0}", "resources.cpus: found 0, allowed is a number > 0"),
        (
            "resources: {cpu: 1}",
            "resources.cpu: unknown key, nearest is cpus; allowed are cpus, gpus",
        ),
        (
            "retries: {max-attempts: 1}",
            "retries.max-attempts: unknown key, nearest is max_attempts; ",
        ),
        ("after: apples", "after: found 'apples', allowed is a list of text; write [apples]"),
        ("after: [a, 3]", "after[1]: found 3, allowed is text; put it in quotes"),
        ("checkpoint: {every: 60}", "checkpoint.every: unknown key, nearest is every_s; "),
        (
            "checkpoint: {every_s: 60 s}",
            "checkpoint.every_s: found '60 s', allowed is a number of s",
        ),
        (
            "checkpoint: {every_rounds: 2k}",
            "checkpoint.every_rounds: found '2k', allowed is a whole",
        ),
        ("name: other", "name: stands twice; the first is at "),
        ("{a: 1}: 3", "'?': found a key that is not text, allowed is text"),
        ("<<: {a: 1}", "'<<': merge keys are not supported, write the values out"),
        ("on: 1", "on: found a key that is not text, allowed is text: put it in quotes"),
        ("3: 1", "3: found a key that is not text, allowed is text: put it in quotes"),
    ],
)
def test_a_wrong_row(problems: Problems, orchard_text: str, row: str, line: str) -> None:
    [found] = problems(orchard_text + row + "\n")
    assert found.startswith("job.yaml:9: " + line)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("name: apples-1\n", "", "job.yaml:1: name: is missing, allowed is text like [a-z0-9]("),
        ("apples-1", "Apples_1", "job.yaml:1: name: found 'Apples_1', allowed is text like ["),
        ("apples-1", "x" * 48, "job.yaml:1: name: found 'xxxxxxxxx"),
        (
            "tree-growing\n",
            "tree-growin\n",
            "job.yaml:2: workload: found 'tree-growin', installed are",
        ),
        (
            "workload: tree-growing\n",
            "",
            "job.yaml:1: workload: is missing, installed are broken, ",
        ),
        (
            "tree-growing\n",
            "broken\n",
            "job.yaml:2: workload: broken is installed but cannot be lo",
        ),
        ("stop: {rounds: 3}\n", "", "job.yaml:1: stop: is missing, allowed is a section with the"),
        (
            "prune",
            "prun",
            "job.yaml:6: tree-growing.algorithm.name: found 'prun', allowed are graft",
        ),
        (
            "name: prune\n",
            "heat: 1\n",
            "job.yaml:5: tree-growing.algorithm.name: is missing, allowed ",
        ),
        (
            "depth",
            "dept",
            "job.yaml:7: tree-growing.algorithm.dept: unknown key, nearest is depth; ",
        ),
        (
            "depth: 2",
            "seasons: [1, 0]",
            "job.yaml:7: tree-growing.algorithm.seasons[1]: found 0, all",
        ),
        (
            "depth: 2",
            "depth: 0",
            "job.yaml:7: tree-growing.algorithm.depth: found 0, allowed is a wh",
        ),
        ("{id: rain}", "{}", "job.yaml:8: tree-growing.weather.id: is missing, allowed is text"),
        (
            "{id: rain}",
            "rain",
            "job.yaml:8: tree-growing.weather: found 'rain', allowed is a section",
        ),
        ("rain", "hail", "job.yaml:8: tree-growing.weather.id: found 'hail', allowed is rain"),
        (
            "rain}",
            "rain, options: {a: .inf}}",
            "job.yaml:8: tree-growing.weather.options.a: found inf",
        ),
        (
            "{id: rain}",
            "{id: rain}\n  pickers: atuo",
            "job.yaml:9: tree-growing.pickers: found 'atuo',",
        ),
        (
            "{id: rain}",
            "{id: rain}\n  pickers: -1",
            "job.yaml:9: tree-growing.pickers: found -1, allow",
        ),
        (
            "{id: rain}",
            "{id: rain}\n  pickers: 0",
            "job.yaml:4: tree-growing: rest_s is for pickers, a",
        ),
    ],
)
def test_a_wrong_value(
    problems: Problems, orchard_text: str, old: str, new: str, line: str
) -> None:
    [found] = problems(orchard_text.replace(old, new, 1))
    assert found.startswith(line)


def test_the_nearest_choice_is_named(problems: Problems, orchard_text: str) -> None:
    [line] = problems(orchard_text.replace("prune", "Grafft"))
    assert line.endswith("found 'Grafft', allowed are graft, prune; nearest is graft")
    [line] = problems(orchard_text.replace("workload: tree-growing", "workload: tree_growin"))
    assert line.endswith("; nearest is tree-growing")
    [line] = problems(orchard_text + "  pickers: aut\n")
    assert line.endswith("found 'aut', allowed is auto or a whole number >= 0; nearest is auto")


def test_all_problems_are_listed_in_the_order_of_the_file(
    problems: Problems, orchard_text: str
) -> None:
    lines = problems(
        orchard_text.replace("{rounds: 3}", "{env_steps: 3}") + "sed: 1\nseed: x\nsed: 2\n"
    )
    places = [line.split(":")[1] for line in lines]
    assert places == ["3", "10", "11"]


def test_of_very_many_problems_the_first_are_told(problems: Problems, orchard_text: str) -> None:
    lines = problems(orchard_text + "".join(f"k{n}: 1\n" for n in range(1000)))
    assert lines[0] == "job.yaml:1: top level: there are 950 more problems than these"
    assert len(lines) == 51


def test_a_job_without_its_section(problems: Problems, orchard_text: str) -> None:
    head = orchard_text.partition("tree-growing:\n")[0]
    assert problems(head)[0].startswith(
        "job.yaml:1: tree-growing: is missing, allowed is a section"
    )
    assert problems(head + "tree-growing:\n") == [
        "job.yaml:4: tree-growing: found nothing, allowed is a section with the keys algorithm, "
        "weather, pickers, rest_s"
    ]
