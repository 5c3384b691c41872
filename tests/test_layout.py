"""The arrangement that lets a top-level folder be called `platform`."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("platform", "algorithms", "envs", "federation")


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_is_a_link_and_no_package(room: str) -> None:
    link = ROOT / ".src" / "covey" / room
    assert link.is_symlink(), f"{link} is no link: was this checked out with core.symlinks=true?"
    assert link.resolve() == ROOT / room
    assert not (ROOT / room / "__init__.py").exists()


def test_the_standard_library_platform_is_what_a_child_imports() -> None:
    code = "import platform; print(platform.python_version())"
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == ".".join(str(part) for part in sys.version_info[:3])
