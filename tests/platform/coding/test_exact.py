"""Coding over raw bytes gives every bit back."""

import numpy as np
import pytest

from covey.platform.coding import CodeError, NotDecodable, make_code
from covey.platform.coding.exact import byte_code, digest
from covey.platform.coding.patterns import received_sets

WORKERS = {3: 6, 8: 15, 10: 15}


@pytest.mark.parametrize("tasks", [3, 8, 10])
@pytest.mark.parametrize("name", ["uncoded", "replication", "mds", "ldpc"])
def test_every_decodable_set_gives_every_bit(name, tasks):
    real = make_code(name, workers=tasks if name == "uncoded" else WORKERS[tasks], tasks=tasks)
    code, generator = byte_code(real, 37), np.random.default_rng(0)
    results = [generator.bytes(37) for _ in range(tasks)]
    results[0] = np.array([np.nan, -0.0, np.inf, 5e-324]).tobytes() + b"12345"
    sent = {
        worker: code.encode(worker, {task: results[task] for task in code.tasks_of(worker)})
        for worker in range(code.workers)
    }
    assert {len(blob) for blob in sent.values()} == {code.sent_bytes}
    for stragglers in range(code.workers - tasks + 1):
        for received in received_sets(code.workers, stragglers):
            assert code.decodable(received) == real.decodable(received)
            given = {worker: sent[worker] for worker in received}
            if code.decodable(received):
                assert [bytes(one) for one in code.decode(given)] == results
            else:
                with pytest.raises(NotDecodable):
                    code.decode(given)


def test_codes_that_round_have_no_exact_form():
    for name in ("mds-dense", "vandermonde", "random-sparse"):
        with pytest.raises(CodeError, match="uncoded, replication, mds and ldpc have one"):
            byte_code(make_code(name, workers=15, tasks=8), 37)


def test_a_digest_tells_bytes_apart():
    assert digest(b"one") != digest(b"two") and len(digest(b"")) == 16
    assert digest(memoryview(b"one")) == digest(b"one")
