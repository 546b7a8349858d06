"""Features of a frozen backbone are what its head would take, and its statistics stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgetl.data.decode import encode_png
from edgetl.data.preprocess import to_inputs
from edgetl.data.samples import EncodedImages
from edgetl.data.store import SplitPart
from edgetl.errors import DataError
from edgetl.reference.network import Preprocess, build_network
from edgetl.spec import ImageInput
from edgetl.train.config import FinetuneConfig
from edgetl.train.feed import Batches, Changes, FeatureFeed, ImageFeed, Parts
from edgetl.train.session import make_accelerator

INPUT = ImageInput(height=32, width=32)


def _parts(augment: str, precision: str = "fp32") -> Parts:
    config = FinetuneConfig(
        architecture="mobilenet_v3_small",
        weights="none",
        recipe="linear-probe",
        precision=precision,  # type: ignore[arg-type]
    )
    torch.manual_seed(0)
    return Parts(
        accelerator=make_accelerator(config),
        network=build_network("mobilenet_v3_small", 3, INPUT).eval(),
        layer="classifier.3",
        head_name="classifier.3",
        preprocess=Preprocess(INPUT),
        changes=Changes(augment=augment),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("augment", ["none", "light"])
def test_the_head_on_features_is_the_network(
    augment: str, train_part: SplitPart, val_part: SplitPart
) -> None:
    parts = _parts(augment)
    train, val = Batches.of(train_part, INPUT), Batches.of(val_part, INPUT)
    before = {name: value.clone() for name, value in parts.network.state_dict().items()}
    feed, whole = FeatureFeed(parts, train, val), ImageFeed(parts, train, val)
    indices = torch.tensor([3, 0, 7])
    features = feed.place(feed.draw(indices, np.random.default_rng(4)).inputs)
    images = whole.place(whole.draw(indices, np.random.default_rng(4)).inputs)
    with torch.inference_mode():
        want = parts.network(parts.preprocess(images))
    torch.testing.assert_close(feed.trained()(features), want, atol=1e-5, rtol=1e-4)
    np.testing.assert_allclose(
        feed.validate(parts.network), whole.validate(parts.network), atol=1e-5, rtol=1e-4
    )
    for name, value in parts.network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_bf16_reaches_training_features_and_never_validation(
    train_part: SplitPart, val_part: SplitPart
) -> None:
    train, val = Batches.of(train_part, INPUT), Batches.of(val_part, INPUT)
    lower, plain = _parts("none", "bf16"), _parts("none")
    half, full = (FeatureFeed(parts, train, val) for parts in (lower, plain))
    indices, generator = torch.arange(4), np.random.default_rng(0)
    rounded, exact = (feed.place(feed.draw(indices, generator).inputs) for feed in (half, full))
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, atol=0.1, rtol=0.1)
    np.testing.assert_array_equal(half.validate(lower.network), full.validate(plain.network))


def test_pictures_are_read_by_all_cores_into_the_same_batch() -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (150, 9, 7, 3), dtype=np.uint8)
    encoded = EncodedImages(tuple(encode_png(image) for image in images))
    for input in (INPUT, ImageInput(height=32, width=24, channels="grey", mean=(0.5,), std=(0.5,))):
        for kept in (images, encoded):
            part = SplitPart(ids=("a",) * 150, labels=np.arange(150), images=kept)
            batches = Batches.of(part, input)
            want = to_inputs(kept, input)["image"]
            np.testing.assert_array_equal(batches.inputs.numpy(), want)
            assert batches.labels.tolist() == list(range(150))


def test_a_picture_that_cannot_be_read_is_told_from_any_thread() -> None:
    images = EncodedImages((encode_png(np.zeros((3, 3), np.uint8)),) * 149 + (b"no picture",))
    part = SplitPart(ids=("a",) * 150, labels=np.arange(150), images=images)
    with pytest.raises(DataError):
        Batches.of(part, INPUT)
