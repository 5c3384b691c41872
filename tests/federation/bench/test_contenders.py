"""Works and peers by name, and where the peers are found."""

from pathlib import Path

import pytest

from covey.federation.bench import contenders
from covey.federation.bench.contenders import Setting, chosen_federated_peers, contenders_of
from covey.federation.bench.works import WORKS, chosen_works
from covey.platform.errors import UserError


def checkout_with(folder: Path, packages: tuple[str, ...]) -> Path:
    """One in which the peers' environment is set up."""
    site = folder / ".venv-peers" / "lib" / "python3.11" / "site-packages"
    for package in packages:
        (site / package).mkdir(parents=True)
    site.mkdir(parents=True, exist_ok=True)
    (folder / ".venv-peers" / ".ready").touch()
    return folder


def test_works_are_chosen_by_name() -> None:
    assert chosen_works(None) == tuple(WORKS)
    assert chosen_works("mlp, messages, mlp") == ("mlp", "messages")
    with pytest.raises(UserError, match=r"no work is called 'mlpp'; known: .*; nearest: mlp"):
        chosen_works("mlpp")


def test_peers_are_chosen_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkout_with(tmp_path, ("pfl", "fedjax"))
    monkeypatch.setattr(contenders, "checkout", lambda: folder)
    assert chosen_federated_peers("pfl, flower,pfl") == ("pfl", "flower")
    assert chosen_federated_peers("none") == ()
    with pytest.raises(UserError, match="known: flower, pfl, fedjax; nearest: flower"):
        chosen_federated_peers("flow")


def test_flower_needs_no_environment_and_the_others_say_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contenders, "checkout", lambda: tmp_path)
    assert chosen_federated_peers("flower") == ("flower",)
    with pytest.raises(UserError, match=r"is not set up: run `make bench-peers` .* leave pfl out"):
        chosen_federated_peers("flower,pfl")
    checkout_with(tmp_path, ("pfl",))
    assert chosen_federated_peers("pfl") == ("pfl",)
    with pytest.raises(UserError, match=r"has no fedjax, it is older than .*: run `make bench-p"):
        chosen_federated_peers("pfl,fedjax")


def test_all_engines_and_both_loops_are_measured_beside_the_peers(tmp_path: Path) -> None:
    setting = Setting(WORKS["mlp"], 3, 2, tmp_path / "opening.npz", tmp_path)
    found = contenders_of(setting, ("flower",))
    assert [one.key for one in found] == [
        *("cohort", "cohort-1", "inline", "actors", "plain", "hand-written", "flower")
    ]
