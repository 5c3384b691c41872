"""`latents.png`: what is in it, and that it costs a run nothing but time."""

import io
import json

import pytest
from PIL import Image

from covey.federation.latent_picture import draw
from covey.federation.rounds_section import depends_on_clock
from covey.platform.runs.plots import draw_pictures

TABLE = {
    "round": 2,
    "latent": 8,
    "classes": 3,
    "labels": [0, 2],
    "points": [[[0.0, 0.0], [1.0, 0.5]], [[4.0, 4.0], [5.0, 4.5]]],
    "taken": [[0, 0], [2, 2]],
    "share": [0.6, 0.3],
}
LINES = [
    {"step": number, "generator_accuracy": 0.5 + 0.1 * number, "generator_spread": 0.3}
    for number in (1, 2)
]
FEDGEN = {
    "cohort": 4,
    "local": {"steps": 5, "batch_size": 16},
    "strategy": {"name": "fedgen", "hidden": 32},
}


def pixels(table=TABLE, lines=LINES):
    return Image.open(io.BytesIO(draw(table, lines, "toy"))).convert("RGB")


def test_it_is_drawn_from_the_table_and_the_figures():
    drawn = pixels().tobytes()
    assert pixels().tobytes() == drawn
    moved = [[[0.0, 0.0], [1.0, 0.5]], [[4.0, 0.0], [5.0, 4.5]]]
    for change in ({"points": moved}, {"taken": [[0, 2], [2, 2]]}, {"labels": [0, 1]}):
        assert pixels({**TABLE, **change}).tobytes() != drawn, change
    for name in ("generator_accuracy", "generator_spread"):
        other = [LINES[0], {**LINES[1], name: 0.1}]
        assert pixels(lines=other).tobytes() != drawn, name


def test_each_label_has_a_colour_of_its_own():
    image = pixels()
    found = {colour for _, colour in image.getcolors(image.width * image.height)}
    blue, orange, green = (31, 119, 180), (255, 127, 14), (44, 160, 44)
    assert {blue, orange} <= found
    assert green not in found


@pytest.mark.parametrize("labels", [1, 20])
def test_any_number_of_labels_up_to_the_most(labels):
    table = {**TABLE, "labels": list(range(labels)), "classes": 40}
    table["points"] = [[[float(label), 1.0], [label + 0.5, 0.0]] for label in range(labels)]
    table["taken"] = [[label, label] for label in range(labels)]
    assert pixels(table, []).width == pixels().width


def test_a_run_with_pictures_is_the_one_without(train, monkeypatch):
    plain = train("mlp", rounds=5, federated={**FEDGEN, "viewer": {"every_s": None}})
    monkeypatch.setattr("covey.platform.runs.plots.draw_pictures", draw_pictures)
    monkeypatch.setattr("covey.federation.live_view.PAUSE", 0.0)
    seen = train("mlp", rounds=5, federated={**FEDGEN, "viewer": {"every_s": 1e-9}})
    assert seen.model == plain.model
    assert [timeless(line) for line in seen.metrics] == [timeless(line) for line in plain.metrics]
    assert "generator_spread" in seen.metrics[-1]
    assert not seen.said("no-curves")
    png, table = (seen.path / name for name in ("latents.png", "latents.json"))
    assert png.read_bytes().startswith(b"\x89PNG")
    assert table.read_bytes() == (plain.path / "latents.json").read_bytes()
    assert json.loads(table.read_text())["round"] == 5
    png.unlink()
    assert png in draw_pictures(seen.path), "`covey plot` draws it anew"
    assert png.exists()


def timeless(line):
    return {name: value for name, value in line.items() if not depends_on_clock(name)}


def test_a_run_without_a_generator_has_none(train):
    run = train("mlp", rounds=2, federated={**FEDGEN, "strategy": {"name": "fedavg"}})
    assert not (run.path / "latents.json").exists()
    assert "latents.png" not in [path.name for path in draw_pictures(run.path)]
