import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d, max_pool2d

from covey.federation.apps.models import make_model
from covey.federation.sample_spec import ImageSize


def test_the_convolutions_see_rows_columns_and_channels_where_they_are():
    raw = np.random.default_rng(0).normal(size=(5, 9, 6, 3)).astype(np.float32)
    model = make_model("cnn", 9 * 6 * 3, 4, ImageSize(9, 6, 3))
    x = torch.from_numpy(np.moveaxis(raw, -1, 1).copy())
    weights = dict(model.named_parameters())
    for name in ("convolution1", "convolution2"):
        x = conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding="same")
        x = max_pool2d(x.relu(), 2)
    x = torch.relu(x.flatten(1) @ weights["hidden.weight"].T + weights["hidden.bias"])
    expected = x @ weights["output.weight"].T + weights["output.bias"]
    assert torch.allclose(model(torch.from_numpy(raw.reshape(5, -1))), expected, atol=1e-5)


def test_its_size_for_mnist_is_what_its_docstring_says():
    model = make_model("cnn", 784, 10, ImageSize(28, 28, 1))
    assert sum(parameter.numel() for parameter in model.parameters()) == 54_314


@pytest.mark.parametrize("image", [None, ImageSize(3, 9, 1)])
def test_what_is_no_image_or_too_small_is_refused(image):
    with pytest.raises(ValueError, match="cnn needs images of 4 by 4 or more"):
        make_model("cnn", 27, 2, image)
