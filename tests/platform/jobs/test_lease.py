"""The lease: who may schedule, and when another may take over."""

import os
import subprocess
import sys

import pytest

from covey.platform.jobs.lease import LEASE_S, LeaseLost, claim, is_held, release, renew
from covey.platform.jobs.process import ProcessIdentity, identify, is_dead

ONE, TWO = ProcessIdentity("here", 1, 1.0), ProcessIdentity("here", 2, 1.0)


def alive(_: ProcessIdentity) -> bool:
    return False


def test_the_second_waits_until_the_first_is_dead_or_silent():
    first = claim(None, ONE, "", 100, alive)
    assert first is not None and first.epoch == 1
    assert claim(first, TWO, "", 101, alive) is None
    assert claim(first, TWO, "", 101, lambda holder: holder == ONE) is not None
    late = claim(first, TWO, "", 100 + LEASE_S, alive)
    assert late is not None and late.epoch == 2


def test_renewing_keeps_it_and_losing_it_is_noticed():
    first = claim(None, ONE, "", 100, alive)
    assert renew(first, 1, 120).expires_s == 120 + LEASE_S
    second = claim(first, TWO, "", 200, alive)
    with pytest.raises(LeaseLost):
        renew(second, 1, 201)


def test_a_lease_given_back_is_free_at_once():
    first = claim(None, ONE, "", 100, alive)
    assert is_held(first, 101, alive)
    back = release(first, 1)
    assert not is_held(back, 101, alive)
    again = claim(back, TWO, "", 101, alive)
    assert again is not None and again.epoch == 2


def test_processes_are_told_apart():
    ours = identify(os.getpid())
    assert not is_dead(ours)
    assert is_dead(ProcessIdentity(ours.host, ours.pid, ours.started_s - 100))
    assert not is_dead(ProcessIdentity("elsewhere", ours.pid, 0))
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    theirs = identify(child.pid)
    assert not is_dead(theirs)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
    assert is_dead(theirs)
    child.communicate()
    assert is_dead(theirs)
