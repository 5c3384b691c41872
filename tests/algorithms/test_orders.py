"""A learner's state in shared memory: whole, in another process, and gone with who wrote it."""

import json
import subprocess
import sys

import numpy as np
import pytest

from covey.algorithms.learner import LearnerState
from covey.algorithms.state_memory import StateMemory, read_state
from covey.platform.runtime.segment import SegmentGone

STATE = LearnerState(
    model={"layers.0/weight": np.arange(12.0, dtype=np.float32).reshape(3, 4), "none": np.zeros(0)},
    optimizer={"steps": np.array(7), "flags": np.array([True, False])},
    normalizer={},
    record={"generator": {"state": 2**127 + 1, "name": "PCG64"}, "replay": None, "ü": [0.1, -1]},
)
OTHER = """
import json, sys
sys.path.insert(0, sys.argv[1])
from test_orders import STATE, StateMemory
memory = StateMemory()
print(json.dumps(memory.write(STATE)), flush=True)
sys.stdin.read()
"""


def check(found):
    assert found.record == STATE.record
    for part in ("model", "optimizer", "normalizer"):
        arrays, wanted = getattr(found, part), getattr(STATE, part)
        assert list(arrays) == list(wanted)
        for name, array in wanted.items():
            assert arrays[name].dtype == array.dtype
            np.testing.assert_array_equal(arrays[name], array)


def test_a_state_is_read_as_it_was_written_and_stays_good():
    memory = StateMemory()
    found = read_state(json.loads(json.dumps(memory.write(STATE))))
    memory.write(LearnerState({}, {}, {}, {}))
    check(found)


def test_a_state_of_another_process_goes_with_it(request):
    here = str(request.path.parent)
    child = subprocess.Popen(
        [sys.executable, "-c", OTHER, here], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        place = json.loads(child.stdout.readline())
        check(read_state(place))
        child.kill()
        child.wait()
        with pytest.raises(SegmentGone):
            read_state(place)
