"""The state machine: literal signals in, literal jobs out."""

import pytest

from covey.platform.jobs.job import Job, State
from covey.platform.jobs.states import (
    Admitted,
    Ended,
    ImpossibleTransition,
    Launch,
    Ready,
    Refused,
    Resumed,
    Signal,
    Started,
    StopAttempt,
    StopRequested,
    apply,
    new_job,
)

JOB = new_job(Job("a-1", "a", "/runs/a-1", submitted_s=1, max_attempts=2, backoff_s=4))


def play(job: Job, *signals: Signal) -> Job:
    for signal in signals:
        job, _ = apply(job, signal)
    return job


def test_a_job_without_trouble():
    job, instructions = apply(JOB, Admitted(2, "c"))
    assert instructions == (Launch(job.last_attempt),)
    assert job.last_attempt.submission_id == "a-1-1"
    job = play(job, Started(3), Ended(4, State.SUCCEEDED, "500 steps reached", exit_status=0))
    assert job.state is State.SUCCEEDED and job.reason == "500 steps reached"
    assert [event.state for event in job.events] == ["queued", "starting", "running", "succeeded"]
    attempt = job.last_attempt
    assert (attempt.created_s, attempt.started_s, attempt.ended_s) == (2, 3, 4)
    assert attempt.exit_status == 0


def test_a_failed_attempt_waits_and_the_last_one_fails_the_job():
    running = play(JOB, Admitted(2, "c"), Started(3))
    waiting = play(running, Ended(10, State.FAILED, "boom", jitter=1.0))
    assert waiting.state is State.WAITING and waiting.not_before_s == 15
    assert "boom" in waiting.reason
    failed = play(waiting, Ready(15, "pause over"), Admitted(16, "c"), Ended(17, State.FAILED, "b"))
    assert failed.state is State.FAILED and failed.num_attempts == 2


def test_the_pause_doubles():
    job = new_job(Job("a-1", "a", "/r", submitted_s=1, max_attempts=9, backoff_s=4))
    pauses = []
    for _ in range(4):
        job = play(job, Admitted(0, "c"), Ended(0, State.FAILED, "boom"))
        pauses.append(job.not_before_s)
        job = play(job, Ready(0, ""))
    assert pauses == [4, 8, 16, 32]


def test_a_final_failure_is_not_tried_again():
    job = play(JOB, Admitted(2, "c"), Ended(3, State.FAILED, "wrong key", final=True))
    assert job.state is State.FAILED


@pytest.mark.parametrize("first", [JOB, new_job(Job("b", "b", "/r", 1, after=("a-1",)))])
def test_stop_before_it_began(first: Job):
    job, instructions = apply(first, StopRequested(2))
    assert job.state is State.STOPPED and instructions == ()


def test_stop_while_it_runs():
    running = play(JOB, Admitted(2, "c"), Started(3))
    stopping, instructions = apply(running, StopRequested(4))
    assert stopping.state is State.STOPPING
    assert instructions == (StopAttempt(running.last_attempt),)
    assert apply(stopping, StopRequested(5)) == (stopping, instructions)
    assert play(stopping, Ended(6, State.STOPPED, "stopped")).state is State.STOPPED
    assert play(stopping, Ended(6, State.FAILED, "killed")).state is State.STOPPED
    assert play(stopping, Ended(6, State.SUCCEEDED, "done first")).state is State.SUCCEEDED


def test_resume_counts_attempts_afresh():
    failed = play(JOB, Admitted(2, "c"), Ended(3, State.FAILED, "x", final=True))
    again = play(failed, Resumed(4), Ready(4, ""), Admitted(5, "c"))
    assert again.last_attempt.number == 2
    assert play(again, Ended(6, State.FAILED, "x")).state is State.WAITING


def test_an_attempt_in_the_foreground_is_counted_but_is_no_try():
    failed = play(JOB, Admitted(2, "c"), Ended(3, State.FAILED, "x", final=True))
    again = play(failed, Resumed(4), Ready(4, ""), Admitted(5, "c", claimed=3))
    assert (again.last_attempt.number, again.last_attempt.submission_id) == (4, "a-1-4")
    assert again.reason == "attempt 4 admitted" and again.num_attempts == 4
    waiting = play(again, Ended(6, State.FAILED, "x"))
    assert waiting.state is State.WAITING and waiting.not_before_s == 10
    last = play(waiting, Ready(10, ""), Admitted(11, "c"), Ended(12, State.FAILED, "x"))
    assert last.state is State.FAILED


@pytest.mark.parametrize(
    "signal",
    [Started(9), Ready(9, ""), Resumed(9), Ended(9, State.SUCCEEDED, "")],
)
def test_impossible_signals_tell_the_history(signal: Signal):
    with pytest.raises(ImpossibleTransition, match=r"a-1 is queued .* queued .*submitted"):
        apply(JOB, signal)


@pytest.mark.parametrize("state", ["succeeded", "failed", "stopped"])
def test_nothing_ends_twice(state: str):
    ended = play(JOB, Admitted(2, "c"), Ended(3, State(state), "", final=True))
    for signal in (Refused(4, ""), StopRequested(4), Ended(4, State.FAILED, ""), Admitted(4, "c")):
        with pytest.raises(ImpossibleTransition):
            apply(ended, signal)
