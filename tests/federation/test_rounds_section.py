import pytest

from covey.platform.errors import JobFileError
from covey.platform.jobfile.load import dump_job_file, load_job_file

LATE = {"stragglers": {"fraction": 0.2, "delay_s": 5.0}}
FEDBUFF = {"name": "fedbuff"}


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"round": {"timeout_s": 5}}, "round.timeout_s: a deterministic job cannot decide by the"),
        ({"round": {"virtual_timeout_s": 5}}, "round.virtual_timeout_s: limits nothing without"),
        ({"round": {"min_replies": 7}}, "round.min_replies: found 7, but at most 6 clients"),
        ({"cohort": 3, "round": {"min_replies": 4}}, "min_replies: found 4, but at most 3 clients"),
        ({"round": {"min_replies": 0}}, "round.min_replies: found 0"),
        (
            {"strategy": {"name": "krum", "malicious": 1}, "round": {"min_replies": 4}},
            "min_replies: found 4, but the strategy needs 5 replies; leave it out, or write 5 or",
        ),
        ({"round": {"min_reply": 1}}, "nearest is min_replies"),
        ({"sampling": {"policy": "round_robin"}}, "nearest is round-robin"),
        ({"sampling": {"probability": 0.5}}, "sampling.probability: is for policy available"),
        ({"faults": {"dropout": 1.0}}, "faults.dropout: found 1.0"),
        ({"faults": {"stragglers": {"fraction": 1.2, "delay_s": 1}}}, "fraction: found 1.2"),
        ({"early_stop": {"patience": 0}}, "early_stop.patience: found 0"),
        ({"early_stop": {"metric": "round_s", "patience": 2}}, "cannot stop by the clock"),
        ({"strategy": {"name": "fedavg", "buffer": 3}}, "strategy.buffer: unknown key"),
        ({"strategy": {**FEDBUFF, "buffer": 7}}, "strategy.buffer: found 7, more than clients (6)"),
        ({"strategy": {**FEDBUFF, "concurrency": 7}}, "concurrency: found 7, more than clients"),
        ({"strategy": FEDBUFF, "round": {"min_replies": 2}}, "min_replies: does not fit fedbuff"),
    ],
)
def test_wrong_values_are_one_clear_line(parse, section, words):
    with pytest.raises(JobFileError) as caught:
        parse(federated=section)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_limit_on_the_clock_is_allowed_where_the_clock_is(parse):
    job = parse(deterministic=False, federated={"round": {"timeout_s": 5}})
    assert job.section.round.timeout_s == 5


def test_defaults_are_filled_in_and_load_back_equal(parse, tmp_path):
    rounds = {"virtual_timeout_s": 3, "min_replies": 2}
    sampling = {"policy": "available"}
    job = parse(federated={"faults": LATE, "round": rounds, "sampling": sampling})
    assert (job.section.round.attempts, job.section.sampling.probability) == (3, 0.5)
    file = tmp_path / "job.yaml"
    file.write_text(dump_job_file(job))
    assert load_job_file(file) == job


def test_fedbuffs_buffer_and_concurrency_are_the_cohort_if_left_out(parse):
    strategy = parse(federated={"cohort": 4, "strategy": FEDBUFF}).section.strategy
    assert (strategy.buffer, strategy.concurrency) == (4, 4)
    assert (strategy.staleness_exponent, strategy.server_learning_rate) == (0.5, 1.0)
