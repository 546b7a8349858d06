"""Inputs are prepared once for several candidates, and again where they do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from edgetl.data.preprocess import to_inputs
from edgetl.data.store import SplitPart
from edgetl.pipeline import kept_inputs
from edgetl.pipeline.kept_inputs import BATCH, KeptInputs
from edgetl.spec import ImageInput

SPEC = ImageInput(height=8, width=8)
BYTES = 8 * 8 * 3


def part(count: int, seed: int = 0) -> SplitPart:
    images = np.random.default_rng(seed).integers(0, 256, (count, 12, 12), dtype=np.uint8)
    labels = np.zeros(count, np.int64)
    return SplitPart(ids=tuple(map(str, range(count))), labels=labels, images=images)


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sizes: list[int] = []

    def counting(samples: np.ndarray, spec: ImageInput) -> dict[str, np.ndarray]:
        sizes.append(len(samples))
        return to_inputs(samples, spec)

    monkeypatch.setattr(kept_inputs, "to_inputs", counting)
    return sizes


def test_a_part_is_prepared_once(prepared: list[int]) -> None:
    kept, one = KeptInputs(SPEC), part(BATCH + 3)
    batches = [list(kept.batches(one)) for _ in range(3)]
    assert prepared == [BATCH, 3]
    expected = to_inputs(one.images, SPEC)["image"]
    for each in batches:
        np.testing.assert_array_equal(np.concatenate([b["image"] for b in each]), expected)


def test_two_parts_are_told_apart(prepared: list[int]) -> None:
    kept, one, other = KeptInputs(SPEC), part(4, seed=1), part(4, seed=2)
    for each in (one, other, one, other):
        (batch,) = kept.batches(each)
        np.testing.assert_array_equal(batch["image"], to_inputs(each.images, SPEC)["image"])
    assert prepared == [4, 4]


def test_what_does_not_fit_is_prepared_each_time(prepared: list[int]) -> None:
    kept = KeptInputs(SPEC, limit=10 * BYTES)
    small, large = part(6), part(5)
    for _ in range(2):
        list(kept.batches(small))
        list(kept.batches(large))
    assert prepared == [6, 5, 5]


def test_a_part_that_was_left_half_way_is_whole_the_next_time() -> None:
    kept, one = KeptInputs(SPEC), part(2 * BATCH)
    next(kept.batches(one))
    assert sum(len(batch["image"]) for batch in kept.batches(one)) == 2 * BATCH
