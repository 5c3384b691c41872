"""A process with its children: its answer, its seconds, its memory."""

import sys
from pathlib import Path

import psutil
import pytest

from covey.federation.bench.metered import run_metered
from covey.platform.errors import UserError

HOLDS = """
import subprocess, sys, time
held = bytearray(int(sys.argv[1]) * 1_000_000)
if len(sys.argv) > 2:
    subprocess.run([sys.executable, __file__, *sys.argv[2:]], check=True)
else:
    time.sleep(4)
print('{"rounds": 3}')
"""


def test_memory_is_that_of_the_whole_tree(tmp_path: Path) -> None:
    file = tmp_path / "holds.py"
    file.write_text(HOLDS)
    alone = run_metered("it", [sys.executable, str(file), "50"], 600)
    both = run_metered("it", [sys.executable, str(file), "50", "100"], 600)
    assert both.record == {"rounds": 3}
    assert 50 < alone.peak_mb < 100 < 150 < both.peak_mb < 200
    assert both.process_s > 4


def test_the_last_line_of_a_process_that_fails_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("print('{}'); raise SystemExit('no such luck')")
    with pytest.raises(UserError, match=r"^it failed: no such luck$"):
        run_metered("it", [sys.executable, str(broken)], 600)


def test_a_process_that_takes_too_long_is_ended_with_all_it_has_started(tmp_path: Path) -> None:
    file = tmp_path / "holds.py"
    file.write_text(HOLDS.replace("sleep(4)", "sleep(600)"))
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(UserError, match="it: not done after 1 s"):
        run_metered("it", [sys.executable, str(file), "1", "1"], 1)
    assert set(psutil.Process().children(recursive=True)) <= before
    assert not [
        one for one in psutil.process_iter(["cmdline"]) if str(file) in (one.info["cmdline"] or [])
    ]
