"""Settings of algorithms with replay that cannot go together are told in one line."""

from pathlib import Path

import pytest

from covey.algorithms.sac import SACConfig
from covey.platform.errors import JobFileError, UserError
from covey.platform.jobfile.load import parse_job_file
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces

SPACES = Spaces(
    ObservationSpec("numeric", (3,), "float32"),
    ActionSpec("continuous", (2,), "float32", low=(-1.0, -1.0), high=(1.0, 1.0)),
    agents=3,
)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"updates_per_step": None}, "updates_per_step: null lets the clock decide"),
        ({"hidden": []}, "rl.algorithm.hidden"),
        ({"buffer_size": 100}, "buffer_size: 100 transitions are fewer than one minibatch of 256"),
    ],
)
def test_what_cannot_be(settings, line):
    document = {
        **{"name": "test", "workload": "rl", "stop": {"env_steps": 100}, "deterministic": True},
        "rl": {"algorithm": {"name": "sac", **settings}, "env": {"id": "Pendulum-v1"}},
    }
    with pytest.raises(JobFileError) as refused:
        parse_job_file(document, Path.cwd())
    assert line in str(refused.value)


def test_a_buffer_holds_at_least_a_step_of_everybody():
    config = SACConfig(name="sac", batch_size=4, buffer_size=11)
    with pytest.raises(UserError, match="11 transitions are fewer than one step of all 12"):
        config.stream_spec(columns=6, streams=2, spaces=SPACES)
    assert config.stream_spec(columns=5, streams=2, spaces=SPACES).blocks >= 3


def test_samplers_may_write_while_a_minibatch_is_read():
    config = SACConfig(name="sac", buffer_size=80_000, block_steps=8)
    spec = config.stream_spec(columns=10, streams=2, spaces=SPACES)
    assert 500 + 8 <= spec.blocks <= 520
