"""Seeds depend on root, role and index, and on nothing else."""

from numpy.random import default_rng

from covey.platform.seeds import derive, derive_int


def test_same_part_same_seed() -> None:
    first, second = (default_rng(derive(7, "environment", 3, 41)).random(4) for _ in range(2))
    assert first.tolist() == second.tolist()


def test_every_part_differs() -> None:
    parts = [
        (7, "environment", 3, 41),
        (7, "environment", 41, 3),
        (7, "policy", 3, 41),
        (8, "environment", 3, 41),
    ]
    assert len({derive_int(root, role, *index) for root, role, *index in parts}) == len(parts)


def test_integers_stay_in_the_range_libraries_take() -> None:
    assert all(0 <= derive_int(root, "client", 0) < 2**31 for root in range(200))
