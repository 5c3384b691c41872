import os
import subprocess
import sys
from pathlib import Path

from covey.federation.superexec import libraries_of, write_command
from covey.platform.environment import flower_environment

APPS = Path(__file__).parent / "apps"


def test_what_takes_long_is_imported_beforehand(tmp_path):
    assert libraries_of(APPS / "memory") == ["torch"]
    assert libraries_of(APPS / "selfseeded") == []


def test_flowers_processes_find_our_command_before_flowers(tmp_path):
    write_command(tmp_path / "commands", ["no_such_library"])
    environment = flower_environment(tmp_path, tmp_path / "cache", tmp_path / "commands")
    done = subprocess.run(
        ["env", "flower-superexec"], env=environment, capture_output=True, text=True, check=False
    )
    assert "No module named 'no_such_library'" in done.stderr
    assert Path(environment["PATH"].split(os.pathsep)[1]) == Path(sys.executable).parent
