"""What an attempt's end means: the cluster's word and the run folder's, in; one verdict, out."""

from pathlib import Path

import pytest

from covey.platform.jobs.launcher import Phase, Sighting
from covey.platform.jobs.outcome import judge, result_of

DONE = {"state": "succeeded", "reason": "500 steps reached", "attempt": 1}
FAILED = {"state": "failed", "error": "no such data", "attempt": 1}


STOPPED = {"state": "stopped", "reason": "stop requested", "attempt": 1}
OUTSIDE = "it was ended from outside, not by `covey stop`"
EARLY = "its process ended with exit status 0 before the training had ended"


@pytest.mark.parametrize(
    ("sighting", "result", "expected"),
    [
        (Sighting(Phase.SUCCEEDED, 0), DONE, ("succeeded", "500 steps reached", False)),
        (Sighting(Phase.SUCCEEDED, 0), None, ("failed", EARLY, False)),
        (Sighting(Phase.SUCCEEDED, 0), FAILED, ("failed", "no such data", False)),
        (Sighting(Phase.FAILED, 1), FAILED, ("failed", "no such data", False)),
        (Sighting(Phase.FAILED, 2), FAILED, ("failed", "no such data", True)),
        (Sighting(Phase.FAILED, 4), STOPPED, ("failed", OUTSIDE, False)),
        (Sighting(Phase.FAILED, 4), None, ("failed", OUTSIDE, False)),
        (Sighting(Phase.STOPPED), None, ("failed", OUTSIDE, False)),
        (Sighting(Phase.STOPPED), DONE, ("succeeded", "500 steps reached", False)),
        (Sighting(Phase.FAILED, -9), DONE, ("succeeded", "500 steps reached", False)),
        (Sighting(Phase.FAILED, -9), None, ("failed", "the driver was killed by signal 9", False)),
        (
            Sighting(Phase.FAILED, 1, "log:\n  No module named 'x'\n"),
            None,
            ("failed", "the driver ended with exit status 1: No module named 'x'", False),
        ),
        (Sighting(Phase.FAILED, None, "env failed"), None, ("failed", "env failed", False)),
        (None, None, ("failed", "the head is gone", False)),
        (None, DONE, ("succeeded", "500 steps reached", False)),
        (None, FAILED, ("failed", "the head is gone", False)),
        (None, STOPPED, ("failed", OUTSIDE, False)),
    ],
)
def test_verdicts(sighting: Sighting | None, result: dict[str, object] | None, expected: object):
    verdict = judge(sighting, result, "the head is gone")
    assert (verdict.result, verdict.reason, verdict.final) == expected


@pytest.mark.parametrize(
    ("sighting", "result", "expected"),
    [
        (Sighting(Phase.FAILED, 4), STOPPED, ("stopped", "stop requested")),
        (Sighting(Phase.STOPPED), None, ("stopped", "stopped")),
        (Sighting(Phase.STOPPED), DONE, ("succeeded", "500 steps reached")),
        (None, STOPPED, ("stopped", "stop requested")),
    ],
)
def test_verdicts_on_a_job_that_was_asked_to_stop(
    sighting: Sighting | None, result: dict[str, object] | None, expected: object
):
    verdict = judge(sighting, result, "the head is gone", stop_requested=True)
    assert (verdict.result, verdict.reason) == expected


def test_a_superseded_driver_is_not_tried_again():
    verdict = judge(Sighting(Phase.FAILED, 3), None, "")
    assert verdict.final and "taken over" in verdict.reason


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"attempt": 2, "state": "failed"}', True),
        ('{"attempt": 1, "state": "failed"}', False),
        ('{"attempt": 2}', False),
        ("[]", False),
        ('{"attem', False),
        pytest.param("[" * 100_000, False, id="deep"),
    ],
)
def test_only_the_attempts_own_result_counts(tmp_path: Path, text: str, found: bool):
    (tmp_path / "result.json").write_text(text)
    assert (result_of(tmp_path, 2) is not None) is found
    assert result_of(tmp_path / "nowhere", 2) is None
