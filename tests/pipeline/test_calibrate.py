from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgetl.calibration import TemperatureFit
from edgetl.errors import ConfigError
from edgetl.pipeline.stages.calibrate import _why_kept, run

LABELS = np.arange(120) % 3


def trained(source: str, names: tuple[str, ...], classes: tuple[str, ...] | None) -> Any:
    """A run whose network answers in the order 2, 1, 0."""
    logits = np.eye(3, dtype=np.float32)[2 - LABELS] * 4
    return SimpleNamespace(
        config=SimpleNamespace(
            model=object(), data=SimpleNamespace(source=source, classes=classes)
        ),
        splits=SimpleNamespace(load=lambda name: SimpleNamespace(labels=LABELS), classes=names),
        reference=lambda stage: nullcontext(),
        predict=lambda *_, **__: logits,
    )


def test_a_trained_network_in_another_order_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'write classes = \["r", "g", "b"\] in \[data\]'):
        run(trained("folder:absent", ("b", "g", "r"), None), tmp_path)


def test_renamed_classes_are_told_by_the_names_of_the_source(tmp_path: Path) -> None:
    images = np.zeros((3, 2, 2), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(3))
    names = ("b", "g", "r")
    with pytest.raises(ConfigError, match=r'write classes = \["2", "1", "0"\]'):
        run(trained(f"npz:{tmp_path / 'a.npz'}", names, names), tmp_path)


@pytest.mark.parametrize(
    ("temperature", "accuracy", "said"),
    [
        (0.05, 1.0, "without error"),
        (0.05, 0.99, "at an accuracy of 0.9900"),
        (20.0, 0.05, "says nothing of the calib split (accuracy 0.0500, chance 0.1000)"),
    ],
)
def test_why_the_temperature_is_kept(temperature: float, accuracy: float, said: str) -> None:
    fit = TemperatureFit(temperature=temperature, at_bound=True, standard_error_log=None, n=9)
    assert said in _why_kept(fit, accuracy, 10)
