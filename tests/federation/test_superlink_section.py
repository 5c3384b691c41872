import socket
from pathlib import Path

import pytest

from covey.federation.superlink import free_port
from covey.platform.driver import run_attempt
from covey.platform.errors import JobFileError

APP = Path(__file__).parent / "apps" / "selfseeded"


@pytest.mark.parametrize(
    ("superlink", "words"),
    [
        ({"address": "https://here:1"}, "address: found 'https://here:1', wanted is host:port"),
        ({"address": "here"}, "superlink.address: found 'here', wanted is host:port"),
        (
            {"address": "here:1", "port": 2},
            "superlink.port: is for a SuperLink that the job starts",
        ),
        ({"port": 70000}, "superlink.port: found 70000"),
        ({"root_certificates": "no.pem", "certificate": "a", "key": "b"}, "there is no file"),
        (
            {"certificate": "a", "key": "b"},
            "root_certificates: is missing beside certificate and key",
        ),
        ({"superexec_secret": "a"}, "superexec_secret: is for a SuperLink with an address"),
        ({"adress": "here:1"}, "nearest is address"),
    ],
)
def test_wrong_values_are_one_clear_line(parse, superlink, words):
    with pytest.raises(JobFileError) as caught:
        parse(federated={"engine": "superlink", "superlink": superlink})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_section_is_for_its_engine_alone(parse):
    with pytest.raises(JobFileError, match="superlink: is for engine: superlink"):
        parse(federated={"superlink": {}})
    with pytest.raises(JobFileError, match=r"clients: found 65; .* at most 64"):
        parse(clients=65, federated={"engine": "superlink"})


def test_an_address_and_files_are_taken_as_they_are(parse):
    there = {"address": "[::1]:8000", "root_certificates": "selfseeded/pyproject.toml"}
    section = parse(clients=65, federated={"engine": "superlink", "superlink": there}).section
    assert section.superlink.address == "[::1]:8000"
    assert section.superlink.root_certificates == str(APP / "pyproject.toml")


@pytest.fixture
def failure(create):
    def said(app="selfseeded", **superlink):
        federated = {"engine": "superlink", "superlink": superlink}
        outcome = run_attempt(create(app, clients=2, federated=federated))
        assert outcome.exit_status == 2
        assert "\n" not in outcome.error
        return outcome.error

    return said


def test_a_port_that_is_taken_is_named(failure):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"federated.superlink.port: {port} is taken" in failure(port=port)


def test_an_address_where_nobody_answers_is_named(failure):
    address = f"127.0.0.1:{free_port()}"
    assert f"no run can be had of {address}" in failure(address=address, wait_s=0.2)


def test_a_file_that_holds_no_certificate_is_named(failure):
    file = str(APP / "pyproject.toml")
    assert "root_certificates" in failure(address="127.0.0.1:1", root_certificates=file)


def test_an_app_that_flower_cannot_pack_is_named(failure, write_app):
    app = write_app("")
    error = failure(app)
    assert f"federated.app: {app} cannot be packed for SuperNodes" in error
    assert "[project]" in error
