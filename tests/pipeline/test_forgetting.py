"""Forgetting is what the paper defines, on the images that it says."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from edgetl.data.store import SplitPart
from edgetl.errors import ConfigError, DataError
from edgetl.files import canonical_json
from edgetl.pipeline.forgetting import mean_forgetting, measure_forgetting
from edgetl.pipeline.previous import Previous
from edgetl.reference.description import ClassifierDescription
from edgetl.spec import Head, TensorInput
from edgetl.stats import tango


def _classifier(classes: tuple[str, ...]) -> tuple[nn.Sequential, ClassifierDescription]:
    """Answers the place of its input's largest number."""
    network = nn.Sequential(nn.Linear(4, len(classes), bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.eye(4)[: len(classes)])  # type: ignore[operator]
    return network, ClassifierDescription(
        architecture="mlp",
        input=TensorInput(shape=(4,)),
        head=Head(layer="0", classes=classes),
    )


def _part(rows: list[list[float]], labels: list[int]) -> SplitPart:
    return SplitPart(
        ids=tuple(f"{index:064x}" for index in range(len(rows))),
        labels=np.array(labels, np.int64),
        images=np.array(rows, np.float32),
    )


OLD_IMAGES = _part(
    [[3, 1, 0, 0], [1, 3, 0, 0], [2, 1, 3, 0], [1, 2, 0, 3], [1, 3, 0, 0]], [0, 1, 0, 1, 0]
)
"""Before: four of five right. After, new classes take the third and the fourth."""


def test_it_counts_what_new_classes_take_and_what_is_lost_among_the_old() -> None:
    network, description = _classifier(("a", "b"))
    before = Previous(network=network, description=description, held_out=OLD_IMAGES)
    after, described = _classifier(("a", "b", "c", "d"))
    new = _part([[0, 0, 1, 0], [0, 1, 0, 0.5]], [2, 3])
    found = measure_forgetting(before, after, described, new=new)
    assert (found.before, found.after, found.after_old_classes) == (0.8, 0.4, 0.8)
    assert found.forgetting == pytest.approx(0.4) and found.forgetting_old_classes == 0.0
    low, high = tango(0, 2, 5)
    assert (found.low, found.high) == (-high, -low) and found.low < 0.4 < found.high
    assert found.new_top1 == 0.5 and found.new_classes == ("c", "d")
    assert found.sentence == (
        "On 5 images of the 2 old classes top-1 was 0.800 and is 0.400 (0.800 where only they "
        f"compete): 40.0 points forgotten [{-100 * high:.1f}, {-100 * low:.1f}]; on 2 images of "
        "the 2 new classes it is 0.500."
    )
    said = json.loads(canonical_json(found.to_json()))
    assert said["forgetting"]["estimate"] == pytest.approx(0.4)
    assert said["old"] == {"classes": ["a", "b"], "images": 5}
    # Without new images nothing is said of them.
    assert "new classes" not in measure_forgetting(before, after, described).sentence


def test_the_mean_over_tasks_takes_the_best_that_each_ever_had() -> None:
    """By hand from definition 1: (0.9 - 0.5) and (0.85 - 0.85), and a gain counts below 0."""
    assert mean_forgetting([[0.9], [0.7, 0.8], [0.5, 0.85, 0.9]]) == pytest.approx(0.175)
    assert mean_forgetting([[0.6], [0.7, 0.8]]) == pytest.approx(-0.1)
    for wrong in ([[0.9]], [[0.9], [0.7]], []):
        with pytest.raises(DataError, match="rows of 1, 2, 3"):
            mean_forgetting(wrong)


def test_without_old_images_or_with_fewer_classes_nothing_is_said() -> None:
    network, description = _classifier(("a", "b", "c"))
    before = Previous(network=network, description=description)
    with pytest.raises(ConfigError, match="no images of the old task"):
        measure_forgetting(before, network, description)
    after, described = _classifier(("a", "b"))
    with pytest.raises(ConfigError, match="2 classes without 'c'"):
        measure_forgetting(before, after, described)


def test_images_that_are_trained_on_now_are_not_asked() -> None:
    network, description = _classifier(("a", "b"))
    before = Previous(network=network, description=description, held_out=OLD_IMAGES)
    after, described = _classifier(("a", "b", "c", "d"))
    found = measure_forgetting(before, after, described, seen=OLD_IMAGES.ids[2:4])
    assert (found.old_images, found.forgetting) == (3, 0.0)
    with pytest.raises(ConfigError, match="no images of the old task that are not trained on now"):
        measure_forgetting(before, after, described, seen=OLD_IMAGES.ids)
