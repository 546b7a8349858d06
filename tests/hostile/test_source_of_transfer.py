"""Source data that cannot be transferred from, and numbers that weigh nothing: one clear error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgetl.data.letters import render_letters
from edgetl.errors import ConfigError, DataError
from edgetl.pipeline.config import load_config
from edgetl.pipeline.release import release

CONFIG = """
schema = "edgetl.config/1"
name = "digits"
version = "1"
threads = 1
[data]
source = "builtin:digits"
train = 60
val = 50
calib = 50
test = 50
[input]
kind = "tensor"
shape = [8, 8]
[finetune]
architecture = "mlp:8"
weights = "none"
recipe = "full"
epochs = 1
device = "cpu"
[finetune.source]
data = "npz:source.npz"
"""


def config(folder: Path, lines: str = "") -> Path:
    path = folder / "digits.toml"
    path.write_text(CONFIG + lines)
    return path


@pytest.mark.parametrize(
    "line",
    [
        "weight = -0.5",
        "weight = nan",
        "weight = inf",
        'weight = "1"',
        "per_class = 0",
        "batch_size = 0",
        'method = "mmd"',
        'schedule = "cosine"',
        "lambda = 1.0",
    ],
)
def test_a_number_or_a_word_that_means_nothing_is_refused_before_anything_is_read(
    tmp_path: Path, line: str
) -> None:
    with pytest.raises(ConfigError, match=r"finetune\.source") as caught:
        load_config(config(tmp_path, line))

    assert caught.value.exit_code == 2
    assert line.split()[0] in str(caught.value)


def test_a_source_of_another_shape_stops_the_stage_with_both_shapes(tmp_path: Path) -> None:
    made = render_letters(1, seed=0, size=12)
    np.savez(tmp_path / "source.npz", images=made.images, labels=made.labels)

    with pytest.raises(DataError) as caught:
        release(config(tmp_path), out=tmp_path / "run", until="finetune")

    assert "[12, 12]" in caught.value.got
    assert "[8, 8]" in caught.value.expected
    assert not (tmp_path / "run/finetune").exists()
