"""Real processes: what is on a leash ends with whoever holds it."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from covey.federation.leash import Leashed

FAMILY = "import subprocess, sys, time; subprocess.Popen(['sleep', '600']); time.sleep(600)"


def wait_for(condition, limit_s=120):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def family(pid):
    """The process, its child and its grandchild, once all three are there."""
    found = [psutil.Process(pid)]
    wait_for(lambda: len(found[0].children(recursive=True)) == 2)
    return found + found[0].children(recursive=True)


def gone(processes):
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def test_ending_takes_the_commands_own_children_along(tmp_path):
    leashed = Leashed([sys.executable, "-c", FAMILY], tmp_path / "log", os.environ)
    processes = family(leashed.pid)
    assert not leashed.ended
    leashed.end()
    assert leashed.ended
    wait_for(lambda: gone(processes))


def test_a_command_that_ends_takes_its_children_along(tmp_path):
    leashed = Leashed([sys.executable, "-c", FAMILY], tmp_path / "log", os.environ)
    processes = family(leashed.pid)
    processes[1].kill()
    wait_for(lambda: leashed.ended)
    wait_for(lambda: gone(processes))
    leashed.end()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_everything_ends_with_the_process_that_started_it(tmp_path, number):
    code = (
        "import os, sys, time, pathlib; from covey.federation.leash import Leashed\n"
        f"leashed = Leashed([sys.executable, '-c', {FAMILY!r}], pathlib.Path('log'), os.environ)\n"
        "print(leashed.pid, flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    with holder:
        processes = family(int(holder.stdout.readline()))
        holder.send_signal(number)
    wait_for(lambda: gone(processes))


def test_what_the_command_says_is_in_its_log(tmp_path):
    leashed = Leashed([sys.executable, "-c", "print('one')"], tmp_path / "log", os.environ)
    wait_for(lambda: leashed.ended)
    leashed.end()
    assert (tmp_path / "log").read_text() == "one\n"
