import threading
import time

import pytest
from loopback import vector

from covey.federation.p2p.wire_header import Header
from covey.federation.p2p.wire_inbox import AHEAD, SLOTS, Inbox
from covey.federation.p2p.wire_refusal import NotNow, Refused

NOW = 0.0
"""A deadline that has passed: nobody waits."""


def header(round, step=0, sender="a", session=1, digest="0"):
    return Header(
        run="r",
        sender=sender,
        session=session,
        round=round,
        step=step,
        kind="vector",
        dtype="<f4",
        shape=(4,),
        digest=digest * 64,
    )


def take(inbox, head, value=1.0):
    with inbox.arriving(head) as verdict:
        return inbox.put(head, vector(value, 4)) if verdict == "new" else verdict


def test_each_vector_is_handed_out_once_and_at_its_own_place():
    inbox = Inbox()
    assert take(inbox, header(0), 1) == take(inbox, header(0, step=1), 2) == "new"
    assert take(inbox, header(0, sender="b"), 3) == "new"
    first = inbox.collect(["a", "b"], (0, 0), NOW)
    assert {name: float(arrived.vector[0]) for name, arrived in first.items()} == {"a": 1, "b": 3}
    assert inbox.collect(["a"], (0, 0), NOW) == {}
    assert float(inbox.collect(["a", "b"], (0, 1), NOW)["a"].vector[0]) == 2


def test_the_same_message_again_is_no_fault_and_any_other_old_one_is():
    inbox = Inbox()
    take(inbox, header(1))
    assert take(inbox, header(1)) == "repeated"
    inbox.finish((1, 0))
    assert take(inbox, header(1)) == "repeated"  # used meanwhile
    take(inbox, header(2))
    for old in (header(1), header(0), header(2, digest="f"), header(3, session=0)):
        with pytest.raises(Refused) as refused:
            take(inbox, old)
        assert refused.value.reason == "replayed"
    assert take(inbox, header(2, step=1)) == "new"


def test_a_peer_that_has_started_anew_may_repeat_its_rounds():
    inbox = Inbox()
    take(inbox, header(3), 1)
    assert take(inbox, header(2, session=2), 2) == "new"
    with pytest.raises(Refused, match="of a new start"):
        take(inbox, header(4, session=1))
    assert inbox.session("a") == 2


def test_what_comes_after_its_time_is_late_and_takes_no_room():
    inbox = Inbox()
    inbox.begin((5, 0))
    assert take(inbox, header(4, step=9)) == "late"
    assert take(inbox, header(5)) == "new"
    inbox.finish((5, 0))
    assert take(inbox, header(5, sender="b")) == "late"
    assert take(inbox, header(5, step=1, sender="b")) == "new"


def test_nobody_fills_the_memory():
    inbox = Inbox()
    inbox.begin((10, 0))
    with pytest.raises(NotNow, match="too early"):
        take(inbox, header(10 + AHEAD + 1))
    for step in range(SLOTS):
        take(inbox, header(10, step=step))
    with pytest.raises(NotNow, match="still waiting"):
        take(inbox, header(10, step=SLOTS))
    take(inbox, header(10, sender="b"))  # others have slots of their own
    inbox.finish((10, 0))
    assert take(inbox, header(10, step=SLOTS)) == "new"


def test_a_vector_on_its_way_has_a_slot():
    inbox = Inbox()
    for step in range(SLOTS - 1):
        take(inbox, header(0, step=step))
    with inbox.arriving(header(0, step=7)):
        with pytest.raises(NotNow):
            take(inbox, header(0, step=8))
    assert take(inbox, header(0, step=8)) == "new"  # that one was lost on the way


def test_of_two_tries_that_come_in_at_once_one_counts():
    inbox = Inbox()
    head = header(0)
    with inbox.arriving(head) as one, inbox.arriving(head) as two:
        assert one == two == "new"
        assert inbox.put(head, vector(1, 4)) == "new"
        assert inbox.put(head, vector(1, 4)) == "repeated"
    assert len(inbox.collect(["a"], (0, 0), NOW)) == 1


def test_a_waiting_peer_goes_on_when_all_have_come_or_were_given_up():
    inbox, got = Inbox(), []
    inbox.begin((0, 0))
    waiting = threading.Thread(
        target=lambda: got.append(inbox.collect(["a", "b", "c"], (0, 0), time.monotonic() + 60))
    )
    waiting.start()
    take(inbox, header(0))
    take(inbox, header(0, sender="b"))
    assert not got
    inbox.give_up("c")
    waiting.join(60)
    assert sorted(got[0]) == ["a", "b"]


def test_whoever_was_given_up_is_waited_for_at_the_next_place():
    inbox = Inbox()
    inbox.begin((0, 0))
    inbox.give_up("a")
    inbox.collect(["a"], (0, 0), time.monotonic() + 60)
    inbox.begin((0, 1))
    begun = time.monotonic()
    inbox.collect(["a"], (0, 1), begun + 0.05)
    assert time.monotonic() >= begun + 0.05
