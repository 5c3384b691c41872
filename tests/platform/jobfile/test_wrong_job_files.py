"""Generated wrong job files: never a traceback, always file, key and reason."""

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from covey.platform.errors import JobFileError
from covey.platform.jobfile.load import dump_job_file, load_job_file

JOBS = Path(__file__).parents[3] / "deploy" / "jobs"
RIGHT = [(JOBS / f"{name}.yaml").read_text() for name in ("cartpole-ppo", "mnist-fedavg")]
VALUE_PROBLEM = re.compile(r"job\.yaml(:\d+|, --set .+?): (?P<key>\S.*?): (?P<reason>\S.*)")
TEXT_PROBLEM = re.compile(
    r"job\.yaml(:\d+)?: (not YAML: |not text: |not UTF-8|nested|more than|a tab|a second).*"
)
SETTINGS = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.datetimes()
    | st.binary(max_size=4)
    | st.sampled_from(["60s", "1h", "1e-3", "500k", "auto", "<<", "=", "\t", "10**400", "[", "&a"])
    | st.just(10**400)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=6,
)
Job = dict[Any, Any]


def sections(value: Any) -> Iterator[Job]:
    """Every mapping in a job that has keys."""
    if isinstance(value, dict) and value:
        yield value
        for inner in value.values():
            yield from sections(inner)


def drop(draw: Any, section: Job, key: Any, job: Job) -> None:
    del section[key]


def rename(draw: Any, section: Job, key: Any, job: Job) -> None:
    name, at = str(key), draw(st.integers(0, len(str(key))))
    new = draw(st.sampled_from([name[:at] + name[at + 1 :], name[:at] + "x" + name[at:]]) | SCALARS)
    section[new] = section.pop(key)


def retype(draw: Any, section: Job, key: Any, job: Job) -> None:
    section[key] = draw(VALUES)


def nest(draw: Any, section: Job, key: Any, job: Job) -> None:
    section[key] = {draw(st.just(key) | SCALARS): section[key]}


def move(draw: Any, section: Job, key: Any, job: Job) -> None:
    value = section.pop(key)
    draw(st.sampled_from(list(sections(job)) or [job]))[key] = value


def add(draw: Any, section: Job, key: Any, job: Job) -> None:
    section[draw(SCALARS)] = draw(VALUES)


@st.composite
def mutated_jobs(draw: Any, texts: list[str]) -> str:
    """A right job file with one to three things wrong, or nearly right after all."""
    job = copy.deepcopy(yaml.safe_load(draw(st.sampled_from(texts))))
    for mutate in draw(
        st.lists(st.sampled_from([drop, rename, retype, nest, move, add]), min_size=1, max_size=3)
    ):
        section = draw(st.sampled_from(list(sections(job)) or [{"x": 1}]))
        mutate(draw, section, draw(st.sampled_from(list(section))), job)
    text: str = yaml.safe_dump(job, sort_keys=False, allow_unicode=True)
    return text


@st.composite
def edited_texts(draw: Any, texts: list[str]) -> bytes:
    """A right job file with a few characters replaced, or garbage alone."""
    if draw(st.integers(0, 3)) == 0:
        garbage: bytes = draw(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
        return garbage
    content = draw(st.sampled_from(texts)).encode()
    scraps = st.sampled_from(
        [b"", b":", b"\n", b" ", b"\t", b"-", b"{", b"]", b"&", b"*", b"'", b"#"]
    )
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        scrap = draw(scraps | st.binary(min_size=1, max_size=3))
        content = content[:at] + scrap + content[at + draw(st.integers(0, 3)) :]
    return bytes(content)


def told_clearly(path: Path, *overrides: str) -> bool:
    """Whether the file is wrong; if so, each problem is one line with file, key and reason."""
    try:
        job = load_job_file(path, overrides)
    except JobFileError as error:
        assert error.problems
        for line in error.problems:
            assert "\n" not in line
            shown = line.replace(f"{path.parent}/", "")
            assert VALUE_PROBLEM.fullmatch(shown) or TEXT_PROBLEM.fullmatch(shown), shown
        return True
    path.write_text(dump_job_file(job))
    assert load_job_file(path) == job
    return False


@pytest.fixture
def right(orchard_text: str, job_file: Callable[[str], Path]) -> list[str]:
    texts = [*RIGHT, orchard_text]
    for text in texts:
        assert not told_clearly(job_file(text))
    return texts


def test_500_wrong_job_files(right: list[str], job_file: Callable[[str], Path]) -> None:
    wrong = set()

    @settings(SETTINGS, max_examples=640)
    @given(text=mutated_jobs(right))
    def check(text: str) -> None:
        if told_clearly(job_file(text)):
            wrong.add(text)

    check()
    assert len(wrong) >= 500


def test_edited_and_garbage_text(right: list[str], job_file: Callable[[str | bytes], Path]) -> None:
    @settings(SETTINGS, max_examples=250)
    @given(content=edited_texts(right))
    def check(content: bytes) -> None:
        told_clearly(job_file(content))

    check()


def test_generated_overrides(right: list[str], job_file: Callable[[str], Path]) -> None:
    keys = st.sampled_from(
        ["seed", "stop", "stop.rounds", "stop.wall_s", "rl.env", "name.x", "a.b", ""]
    )

    @settings(SETTINGS, max_examples=200)
    @given(text=st.sampled_from(right), key=keys | st.text(max_size=5), value=VALUES | st.just(""))
    def check(text: str, key: str, value: Any) -> None:
        shown = yaml.safe_dump(value, default_flow_style=True) if value != "" else ""
        told_clearly(job_file(text), f"{key}={shown}")

    check()


@pytest.mark.parametrize("index", range(3))
def test_a_misspelt_key_is_named_with_its_line_and_the_right_one(
    right: list[str], job_file: Callable[[str], Path], index: int
) -> None:
    """Every key of every section in turn, with one letter too many."""
    lines = right[index].splitlines()
    closed = re.compile(r"(?<=[\s{,])([a-z][a-z_]+):")
    for number, line in enumerate(lines, 1):
        for match in closed.finditer(" " + line.partition("#")[0]):
            key = match[1]
            wrong = (" " + line)[: match.end() - 1] + "z" + (" " + line)[match.end() - 1 :]
            text = "\n".join([*lines[: number - 1], wrong[1:], *lines[number:]])
            path = job_file(text + "\n")
            with pytest.raises(JobFileError) as caught:
                load_job_file(path)
            told = [
                p for p in caught.value.problems if f"{key}z: unknown key, nearest is {key}" in p
            ]
            assert len(told) == 1
            assert told[0].startswith(f"{path}:{number}: ")
