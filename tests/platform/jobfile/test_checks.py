"""Keys that are right one by one and impossible together."""

from collections.abc import Callable

import pytest

from covey.platform.jobfile import checkpoint_path

Problems = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("stop", "line"),
    [
        ("{}", "stop: at least one key is needed, allowed are rounds, accuracy, wall_s"),
        (
            "{rounds: null}",
            "stop: at least one key is needed, allowed are rounds, accuracy, wall_s",
        ),
        (
            "{env_steps: 3}",
            "stop.env_steps: does not fit workload tree-growing, allowed are rounds,",
        ),
        (
            "{rounds: 3, episode_return_mean: 3}",
            "stop.episode_return_mean: does not fit workload tree-growing, allowed are rounds",
        ),
    ],
)
def test_stop_keys_must_fit_the_workload(
    problems: Problems, orchard_text: str, stop: str, line: str
) -> None:
    [found] = problems(orchard_text.replace("{rounds: 3}", stop))
    assert found.startswith("job.yaml:3: " + line)


def test_checkpoint_keys_must_fit_the_workload(problems: Problems, orchard_text: str) -> None:
    [line] = problems(orchard_text + "checkpoint: {every_env_steps: 5}\n")
    assert line == (
        "job.yaml:9: checkpoint.every_env_steps: does not fit workload tree-growing, "
        "allowed are every_s, every_rounds"
    )


def test_a_deterministic_job_cannot_stop_by_the_clock(
    problems: Problems, orchard_text: str
) -> None:
    text = orchard_text.replace("{rounds: 3}", "{rounds: 3, wall_s: 60}")
    [line] = problems(text + "deterministic: true\n")
    assert line.startswith("job.yaml:3: stop.wall_s: a deterministic job cannot stop by the clock")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("runs", "found 'runs', allowed are an absolute folder and a URL such as s3://bucket/"),
        ("s4://bucket/runs", "no store is called 's4', as s3, gs and az are"),
        ("s3://", "found 's3://', which names no bucket"),
        ("s3:///", "found 's3:///', which names no bucket"),
        ("nearby://bucket", "no store is called 'nearby'"),
        ("sftp://me:word@host/runs", "holds a password, allowed are URLs without"),
    ],
)
def test_a_path_of_checkpoints_must_name_a_place(
    problems: Problems, orchard_text: str, path: str, line: str
) -> None:
    [found] = problems(orchard_text + f"checkpoint: {{path: '{path}'}}\n")
    assert found.startswith("job.yaml:9: checkpoint.path: " + line)


def test_a_store_may_need_a_package(
    problems: Problems, orchard_text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_path, "find_spec", lambda name: None)
    [found] = problems(orchard_text + "checkpoint: {path: 's3://bucket/runs'}\n")
    assert found == (
        "job.yaml:9: checkpoint.path: s3 needs the package s3fs: pip install 'covey[s3]'"
    )


@pytest.mark.parametrize("path", ["/shared/runs", "file:///shared", "memory://x"])
def test_paths_of_checkpoints_that_may_be(path: str) -> None:
    assert checkpoint_path.path_problem(path) is None
