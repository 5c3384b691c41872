import io

import numpy as np
from PIL import Image

from covey.federation.client_map import COLOURS, accuracies, draw, fates
from covey.federation.client_rounds import FATES

SIZE = {"clients": 2, "clients_a_row": 1, "rounds": 3, "rounds_a_column": 1}


def colours(data: bytes) -> set[str]:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    found = image.getcolors(maxcolors=image.width * image.height)
    return {"#{:02x}{:02x}{:02x}".format(*colour) for _, colour in found}


def test_accuracies_are_means_and_unknown_where_nobody_measured():
    table = {"measured": [[2, 0], [1, 1]], "accuracy": [[15_000, 0], [0, 10_000]]}
    assert np.array_equal(accuracies(table), [[0.75, np.nan], [0.0, 1.0]], equal_nan=True)
    assert accuracies({"measured": [[1]]}) == [[0.0]], "of accuracies that are all zero"


def test_a_cell_shows_the_commonest_fate_and_of_several_the_worst():
    table = {"trained": [[0, 2, 1, 1]], "dropped": [[0, 1, 1, 0]], "refused": [[0, 0, 0, 1]]}
    assert [["", *FATES][place + 1] for place in fates(table)[0]] == [
        "",
        "trained",
        "dropped",
        "refused",
    ]


def test_the_map_has_a_colour_for_each_fate_and_none_for_what_did_not_happen():
    table = {**SIZE, "trained": [[1, 1, 0], [0, 0, 0]], "dropped": [[0, 0, 0], [0, 1, 0]]}
    seen = colours(draw(table, "toy"))
    assert {COLOURS["trained"], COLOURS["dropped"]} <= seen
    assert not {COLOURS["failed"], COLOURS["refused"]} & seen


def test_accuracies_are_shown_above_where_there_are_any():
    table = {**SIZE, "trained": [[1, 1, 0], [0, 0, 1]]}
    measured = {"measured": [[1, 1, 1], [1, 1, 1]], "accuracy": [[0, 5000, 9999], [1, 2, 3]]}
    plain = Image.open(io.BytesIO(draw(table, "toy")))
    both = Image.open(io.BytesIO(draw({**table, **measured}, "toy")))
    assert both.height > 1.5 * plain.height


def test_there_is_no_map_of_nobody():
    assert draw({**SIZE, "rounds": 0}, "toy") is None
