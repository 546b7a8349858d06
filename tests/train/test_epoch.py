"""Batches of an epoch: even ones, and large enough to be shared out."""

from __future__ import annotations

import numpy as np
import pytest

from edgetl.errors import ConfigError
from edgetl.train.config import FinetuneConfig
from edgetl.train.epoch import check_shares, epoch_batches, steps_of

LABELS = np.arange(25) % 3


def _config(**changes: int) -> FinetuneConfig:
    values = {"architecture": "mlp", "weights": "none", "recipe": "full", "batch_size": 8}
    return FinetuneConfig(**{**values, **changes})  # type: ignore[arg-type]


def test_batches_are_even_and_see_every_image_once() -> None:
    batches = epoch_batches(LABELS, _config(), 1)
    assert [len(batch) for batch in batches] == [7, 6, 6, 6]
    assert sorted(np.concatenate(batches)) == list(range(25))
    other = epoch_batches(LABELS, _config(), 2)
    assert not np.array_equal(np.concatenate(batches), np.concatenate(other))
    assert [steps_of(25, _config(accumulate=k)) for k in (1, 2, 3, 4, 9)] == [4, 2, 2, 1, 1]


def test_batches_smaller_than_the_processes_are_refused() -> None:
    check_shares(LABELS, _config(), 6)
    with pytest.raises(ConfigError, match="6 images a step for 7 processes"):
        check_shares(LABELS, _config(), 7)
