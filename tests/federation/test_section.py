from pathlib import Path

import pytest

from covey.platform.errors import JobFileError
from covey.platform.jobfile.load import dump_job_file, load_job_file, parse_job_file


@pytest.fixture
def problem(parse):
    def said(**rest):
        with pytest.raises(JobFileError) as caught:
            parse(**rest)
        return str(caught.value)

    return said


def test_defaults_of_a_built_in_app_are_filled_in(parse):
    section = parse().section
    assert (section.cohort, section.local.epochs, section.local.batch_size) == (6, 1, 32)
    assert (section.strategy.name, section.data.partition.kind) == ("fedavg", "iid")


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [("dirichlet", "alpha", 0.5), ("quantity", "alpha", 0.5), ("classes", "classes_per_client", 2)],
)
def test_a_kind_of_partition_has_its_option(parse, kind, option, value):
    assert getattr(parse(federated=partition(kind=kind)).section.data.partition, option) == value
    given = parse(federated=partition(kind=kind, **{option: 3})).section.data.partition
    assert getattr(given, option) == 3


def test_evaluation_on_clients_is_for_built_in_apps(problem):
    text = problem(app="memory", federated={"evaluate_clients": "all"})
    assert "federated.evaluate_clients: is for built-in apps" in text


def test_a_resolved_job_loads_back_equal(parse, tmp_path):
    for job in (parse(federated={"cohort": 3, "local": {"steps": 5}}), parse(app="memory")):
        file = tmp_path / "job.yaml"
        file.write_text(dump_job_file(job))
        assert load_job_file(file) == job


def test_an_app_folder_is_found_beside_the_job_file(parse):
    folder = Path(__file__).parent / "apps" / "quickstart"
    assert parse(app="./quickstart").section.app == str(folder)


def partition(**options):
    return {"data": {"name": "digits", "partition": options}}


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"cohort": 7}, "federated.cohort: found 7, more than clients (6)"),
        ({"cohort": 0}, "federated.cohort: found 0"),
        ({"clients": 0}, "federated.clients: found 0"),
        ({"app": "logistics"}, "nearest is logistic"),
        ({"data": {"name": "minst"}}, "nearest is mnist"),
        ({"data": None}, "federated.data: is missing"),
        ({"data": {"name": "digits", "partition": {"kind": "idd"}}}, "nearest is iid"),
        ({"data": {"name": "digits", "partition": {"alpha": 1}}}, "for kind dirichlet"),
        (
            {"data": {"name": "digits", "path": "."}},
            "federated.data.path: cannot stand beside name",
        ),
        ({"data": {}}, "federated.data: needs name (one of digits, mnist, fashion-mnist) or path"),
        ({"data": {"path": "nowhere"}}, "federated.data.path: there is no folder"),
        (partition(kind="iid", classes_per_client=2), "classes_per_client: is for kind classes"),
        (partition(kind="classes", alpha=1), "alpha: is for kind dirichlet and quantity"),
        (partition(kind="natural"), "partition.kind: natural needs to know the client"),
        (partition(kind="quantity", min_size=300), "6 clients with that many need 1800"),
        ({"data": {"name": "digits", "held_out": 1}}, "federated.data.held_out: found 1"),
        ({"evaluate_clients": True}, "federated.evaluate_clients: needs data: {held_out"),
        ({"evaluate_clients": "al"}, "nearest is all"),
        ({"clients": 2000}, "2000 samples and digits has 1437"),
        ({"local": {"epochs": 1, "steps": 2}}, "federated.local.steps: cannot stand beside epochs"),
        ({"local": {"learning_rate": 0}}, "federated.local.learning_rate: found 0"),
        ({"strategy": {"name": "fedavgs"}}, "nearest is fedavg"),
        ({"strateg": {}}, "nearest is strategy"),
        ({"run_config": {"x": 1}}, "federated.run_config: is for app folders"),
    ],
)
def test_wrong_values_are_one_clear_line(problem, section, words):
    text = problem(federated=section)
    assert words in text
    assert "\n" not in text


@pytest.mark.parametrize("missing", ["app", "clients"])
def test_what_has_no_default_must_be_given(tmp_path, missing):
    section = {"app": "logistic", "clients": 3, "data": {"name": "digits"}}
    del section[missing]
    job = {"name": "x", "workload": "federated", "stop": {"rounds": 1}, "federated": section}
    with pytest.raises(JobFileError, match=rf"federated.{missing}: is missing"):
        parse_job_file(job, tmp_path)


@pytest.mark.parametrize("key", ["data", "local", "strategy"])
def test_an_app_folder_has_its_own_data_training_and_strategy(problem, key):
    value = {"data": {"name": "digits"}, "local": {"epochs": 1}, "strategy": {"name": "fedavg"}}[
        key
    ]
    assert f"federated.{key}: is for built-in apps" in problem(app="memory", federated={key: value})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"strateg": "x"}, "nearest is strategy"),
        ({"rounds": "x"}, "the app's own value is of type int"),
    ],
)
def test_run_config_must_fit_the_app(problem, config, words):
    assert words in problem(app="memory", federated={"run_config": config})


def test_a_folder_must_be_a_flower_app(problem, tmp_path):
    def said():
        return problem(app=str(tmp_path))

    assert "has no pyproject.toml" in said()
    (tmp_path / "pyproject.toml").write_text("[project")
    assert "cannot be read" in said()
    (tmp_path / "pyproject.toml").write_text("[tool.flwr.app.components]\nserverapp = 'a.b:c'")
    assert 'needs clientapp = "package.module:app"' in said()
    (tmp_path / "pyproject.toml").write_text(
        "[tool.flwr.app]\ncomponents = {serverapp = 'a:b', clientapp = 'a:c'}\nconfig = {x = [1]}"
    )
    assert "x in [tool.flwr.app.config] is no number" in said()
