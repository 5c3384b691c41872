import os
import tracemalloc

import numpy as np
import pytest

from covey.federation.array_folder import open_folder
from covey.federation.data import load
from covey.federation.sample_spec import SampleSpec, moments
from covey.federation.workload import WORKLOAD
from covey.platform.driver import run_attempt
from covey.platform.errors import JobFileError, UserError

IMAGES = np.zeros((120, 8, 8), np.uint8)


def test_a_folder_is_read_where_it_lies_and_standardised_by_its_training_set(write_arrays):
    path = write_arrays()
    folder = open_folder(path)
    assert folder.sizes == (8, 8, 2) and not folder.train_x.flags.writeable
    data = load(str(path))
    assert data.train_images.shape == (120, 128) and data.test_images.shape == (30, 128)
    assert (data.train_images.dtype, data.train_labels.dtype) == (np.float32, np.int64)
    assert (data.pixels, data.classes, data.spec.image) == (128, 3, (8, 8, 2))
    channels = data.train_images.reshape(-1, 2).astype(np.float64)
    assert abs(channels.mean(0)).max() < 1e-5 and abs(channels.std(0) - 1).max() < 1e-5
    raw = np.load(path / "test_x.npy")
    figures = np.load(path / "train_x.npy").reshape(-1, 2)
    assert data.test_images.reshape(raw.shape) == pytest.approx(
        (raw - figures.mean(0)) / figures.std(0), abs=1e-5
    )


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_flat_features_of_any_float_are_standardised_one_by_one(write_arrays, kind, order):
    generator = np.random.default_rng(1)
    features = np.asarray(generator.normal((0, 50, 7), (1, 20, 0), (120, 3)), kind, order=order)
    path = write_arrays(train_x=features, test_x=features[:30])
    data = load(str(path))
    assert data.spec.image is None and data.pixels == 3
    assert abs(data.train_images.mean(0)).max() < 1e-4
    assert data.train_images.std(0) == pytest.approx([1, 1, 0], abs=1e-3)
    load.cache_clear()


def test_features_far_from_zero_keep_their_differences():
    seconds = 1.6e9 + np.arange(100.0)[:, None]  # float32 knows steps of 128 there
    spec = SampleSpec("clocks", (1,), 2, *moments(seconds))
    expected = (np.arange(100) - 49.5) / np.arange(100).std()
    assert spec.standardised(seconds)[:, 0] == pytest.approx(expected, abs=1e-5)


def test_moments_do_not_depend_on_the_pieces_they_are_read_in(monkeypatch):
    samples = np.random.default_rng(2).normal(3, 2, (50, 4, 5, 3))
    whole = moments(samples)
    monkeypatch.setattr(
        "covey.federation.sample_spec.pieces", lambda x: [x[at : at + 7] for at in range(0, 50, 7)]
    )
    for figures, again, direct in zip(
        whole, moments(samples), (samples.mean((0, 1, 2)), samples.std((0, 1, 2))), strict=True
    ):
        assert figures == pytest.approx(direct)
        assert again == pytest.approx(direct)


@pytest.mark.parametrize(
    ("replaced", "words"),
    [
        ({"train_y": None, "test_y": None}, "has no train_y.npy and no test_y.npy; needed are"),
        ({"train_x": IMAGES.astype(np.int64)}, "train_x.npy holds int64, allowed are uint8"),
        ({"train_x": IMAGES[:, 0, 0]}, "train_x.npy has shape [120], allowed are [N, height"),
        ({"test_x": np.zeros((0, 8, 8, 2), np.uint8)}, "test_x.npy has shape [0, 8, 8, 2]"),
        ({"train_x": np.zeros((120, 2, 8, 8), np.uint8)}, "numpy.moveaxis(x, 1, -1)"),
        ({"test_x": IMAGES[:30]}, "test_x.npy has samples of [8, 8], those of train_x.npy are"),
        ({"test_x": np.zeros((30, 8, 8, 2))}, "test_x.npy holds float64, train_x.npy uint8"),
        ({"train_y": np.zeros(120)}, "train_y.npy holds float64, allowed are whole numbers"),
        ({"train_y": np.zeros(119, int)}, "has shape [119], but there are 120 samples: [120]"),
        ({"train_client": np.zeros((120, 1), int)}, "train_client.npy has shape [120, 1]"),
        ({"train_client": np.zeros(120)}, "holds float64, allowed are whole numbers or text"),
    ],
)
def test_what_headers_tell_is_a_problem_of_the_key(write_arrays, parse, replaced, words):
    path = write_arrays(**replaced)
    with pytest.raises(JobFileError) as caught:
        parse(federated={"data": {"path": str(path)}})
    assert f"federated.data.path: {path}" in str(caught.value)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def not_finite(sample):
    images = np.zeros((120, 8, 8, 2), np.float32)
    images[sample, 0, 0, 1] = np.nan
    return images


@pytest.mark.parametrize(
    ("replaced", "words"),
    [
        ({"train_y": np.arange(120) - 1}, "train_y.npy holds label -1; labels begin at 0"),
        ({"test_y": np.arange(30)}, "test_y.npy holds label 29, those in train_y.npy end at 2"),
        ({"train_y": np.arange(120) + 1}, "holds label 120 and 120 labels in all; number the"),
        (
            {"train_x": not_finite(77), "test_x": not_finite(0)[:30]},
            "train_x.npy holds a number that is not finite in sample 77",
        ),
        (
            {"train_x": np.full((120, 3), 1e39), "test_x": np.zeros((30, 3))},
            "train_x.npy holds a number that is not finite in sample 0",
        ),
    ],
)
def test_what_only_the_content_tells_ends_the_job_before_it_trains(write_arrays, replaced, words):
    path = write_arrays(**replaced)
    open_folder(path)
    with pytest.raises(UserError) as caught:
        load(str(path))
    assert words in str(caught.value)


def refused(path):
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            open_folder(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    return str(caught.value)


def test_a_header_that_claims_more_than_there_is_takes_no_memory(write_arrays):
    path = write_arrays()
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (100000, 320, 320), }".ljust(117)
    content = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header + b"\n" + bytes(1000)
    (path / "train_x.npy").write_bytes(content)
    assert "has 10,240,000,000 bytes, 1,000 came" in refused(path)


def test_no_pickle_is_read_from_a_folder(write_arrays, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = write_arrays()
    np.save(path / "train_client.npy", np.array([Trap()] * 120, object), allow_pickle=True)
    assert "train_client.npy cannot be used: an array of Python objects" in refused(path)
    (path / "train_y.npy").write_bytes(b"")
    assert "train_y.npy cannot be used" in refused(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("app", ["logistic", "cnn"])
def test_a_built_in_app_trains_on_a_folder_and_its_model_can_be_used(app, write_arrays, train):
    path = write_arrays()
    data = {"path": str(path), "partition": {"kind": "natural"}}
    local = {"epochs": 2, "batch_size": 10, "learning_rate": 0.1}
    run = train(app, clients=4, rounds=4, federated={"data": data, "local": local})
    assert run.metrics[-1]["accuracy"] > 0.95
    assert WORKLOAD.evaluate(run.path, 1)["accuracy"] == pytest.approx(run.metrics[-1]["accuracy"])
    classifier = WORKLOAD.load_policy(run.path)
    images, labels = np.load(path / "test_x.npy"), np.load(path / "test_y.npy")
    assert (classifier.act(images) == labels).mean() == pytest.approx(run.metrics[-1]["accuracy"])
    with pytest.raises(ValueError, match=r"holds no images of .*, which are 8 by 8 by 2"):
        classifier.act(images[..., 0])


def test_a_path_counts_from_the_job_file(write_arrays, tmp_path):
    from covey.platform.jobfile.load import load_job_file

    path = write_arrays()
    (tmp_path / "job.yaml").write_text(
        "name: x\nworkload: federated\nstop: {rounds: 1}\n"
        "federated: {app: cnn, clients: 2, data: {path: ./arrays}}\n"
    )
    assert load_job_file(tmp_path / "job.yaml").section.data.path == str(path)


def test_natural_clients_are_counted_before_anything_is_trained(write_arrays, create):
    data = {"path": str(write_arrays()), "partition": {"kind": "natural"}}
    outcome = run_attempt(create("logistic", clients=5, federated={"data": data}))
    assert outcome.exit_status == 2
    assert "the data comes from 4 clients, not 5: write clients: 4" in outcome.error


def test_natural_needs_ids_and_a_convolution_images(write_arrays, parse):
    flat = np.zeros((120, 30), np.float32)
    path = write_arrays(train_x=flat, test_x=flat[:30], train_client=None)
    data = {"path": str(path)}
    with pytest.raises(JobFileError, match=r"federated.app: cnn needs images .* 30 flat features"):
        parse("cnn", federated={"data": data})
    data["partition"] = {"kind": "natural"}
    with pytest.raises(JobFileError, match=r"which .*arrays does not tell; put train_client.npy"):
        parse(federated={"data": data})
