"""Several learners that share each minibatch learn what one learner does."""

import numpy as np
import pytest
from learner_processes import CASES, alone, in_processes

NAMES = tuple(CASES)
OF_THE_FIRST = ("log_alpha", "optimizer alpha.", "optimizer replay.")
"""What the others do nothing with begins so."""


@pytest.fixture(scope="module", params=[2, 3])
def learned(request):
    return in_processes(request.param, NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_group_learns_what_one_learner_does(learned, name):
    wanted = alone(CASES[name])
    first, *others = (found[name] for found, _ in learned)
    for key, array in wanted.items():
        np.testing.assert_allclose(first[key], array, rtol=0, atol=1e-6, err_msg=key)
    for other in others:
        for key in other:
            if key.startswith(OF_THE_FIRST):
                continue
            np.testing.assert_array_equal(other[key], first[key], err_msg=key)


def test_learners_listen_on_loopback_alone(learned):
    for _, heard in learned:
        assert heard and set(heard) == {"127.0.0.1"}
