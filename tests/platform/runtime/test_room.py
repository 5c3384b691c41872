"""Whether parts of a job can ever fit on the nodes of a cluster."""

import pytest

from covey.platform.runtime.ray_cluster import too_small

NODES = [{"CPU": 2.0}, {"CPU": 4.0, "GPU": 1.0}, {"memory": 1e9}]


@pytest.mark.parametrize(
    ("bundles", "why"),
    [
        ([{"CPU": 2.0}, {"CPU": 4.0, "GPU": 1.0}], ""),
        ([{"CPU": 0.5}] * 12, ""),
        ([{"CPU": 3.0}, {"CPU": 3.5}], "6.5 CPU wanted, 6 there"),
        ([{"CPU": 4.5}], "4.5 CPU wanted for one of its parts, 4 on the largest node"),
        ([{"CPU": 1.0, "GPU": 2.0}], "2 GPU wanted, 1 there"),
    ],
)
def test_parts_on_nodes(bundles: list[dict[str, float]], why: str) -> None:
    assert too_small(bundles, NODES) == why


def test_a_cluster_without_nodes_is_too_small() -> None:
    assert too_small([{"CPU": 1.0}], []) == "1 CPU wanted, 0 there"
