"""A network of two inputs, a picture and a reading, from trained weights to answers by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits

import edgetl
from edgetl.cli.main import main
from edgetl.errors import DataError
from edgetl.pipeline.release import ReleaseResult, release
from edgetl.pipeline.waterfall import waterfall
from edgetl.pipeline.waterfall_run import finished_run
from edgetl.runtime.selftest import selftest

MODULE = """
import torch
from torch import nn


class Both(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.eye = nn.Sequential(
            nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(12 * 16, 48), nn.ReLU(),
        )
        self.touch = nn.Sequential(nn.Linear(2, 16), nn.ReLU())
        self.verdict = nn.Linear(64, classes)

    def forward(self, photo, reading):
        return self.verdict(torch.cat([self.eye(photo), self.touch(reading)], dim=1))


def make(classes):
    return Both(classes)
"""

CONFIG = """
schema = "edgetl.config/1"
name = "both"
version = "1.0.0"
[data]
source = "npz:both.npz"
val = 300
calib = 200
test = 700
[input]
kind = "several"
[input.parts.photo]
height = 8
width = 8
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
[input.parts.reading]
kind = "tensor"
shape = [2]
[model]
architecture = "python:both_net:make"
weights = "both.safetensors"
[compile]
variants = ["ort-fp32", "ort-int8", "ov-int8"]
[bench]
rounds = 4
max_seconds = 6.0
[gate.policy]
max_p50_ratio = 5.0   # a network of microseconds
"""


def _data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Digits of two scripts that only the reading tells apart: 20 classes."""
    digits = load_digits()
    rng = np.random.default_rng(0)
    script = rng.integers(0, 2, len(digits.target))
    photos = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    readings = (script[:, None] * 2 - 1 + rng.normal(0, 0.2, (len(script), 2))).astype(np.float32)
    return np.repeat(photos[..., None], 3, axis=3), readings, digits.target * 2 + script


def _train(folder: Path, photos: np.ndarray, readings: np.ndarray, labels: np.ndarray) -> None:
    scope: dict[str, object] = {}
    exec(compile(MODULE, "both_net", "exec"), scope)
    torch.manual_seed(0)
    network = scope["make"](20)
    x = (torch.from_numpy(photos).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(15):
        for rows in torch.randperm(len(x)).split(64):
            answer = network(x[rows], torch.from_numpy(readings)[rows])
            loss = torch.nn.functional.cross_entropy(answer, torch.from_numpy(labels)[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    save_file(network.state_dict(), folder / "both.safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("both")
    (folder / "both_net.py").write_text(MODULE)
    (folder / "release.toml").write_text(CONFIG)
    photos, readings, labels = _data()
    held_out = slice(500, None)
    _train(folder, photos[:500], readings[:500], labels[:500])
    np.savez(
        folder / "both.npz",
        photo=photos[held_out],
        reading=readings[held_out],
        labels=labels[held_out],
    )
    return folder


@pytest.fixture(scope="module")
def result(folder: Path) -> ReleaseResult:
    return release(folder / "release.toml", out=folder / "run")


def test_it_is_judged_and_packed_like_any_other(result: ReleaseResult) -> None:
    assert result.verdict == "PASS"
    assert result.rows[0].top1 > 0.7
    assert result.report is not None and result.report.is_file()


def test_its_waterfall_begins_at_the_export(folder: Path, result: ReleaseResult) -> None:
    with finished_run(folder / "release.toml", out=result.folder) as context:
        found = waterfall(context, "ort-int8", images=48)
    measured = [step.name for step in found.steps if not step.skipped]
    assert measured == ["export", "precision", "backend"]
    assert "several inputs" in found.steps[0].note
    assert found.total.flips <= 4 and found.layers[0].sqnr_db > 20
    # Of the two inputs only the tensor is rounded as it comes.
    assert "reading" in {layer.name for layer in found.layers if layer.operator == "Input"}


def test_the_bundle_answers_mappings_by_name(folder: Path, result: ReleaseResult) -> None:
    with np.load(folder / "both.npz") as data:
        photo, reading = data["photo"][3], data["reading"][3]
    with edgetl.Classifier.load(result.bundle) as both:
        one = both.predict({"photo": photo, "reading": reading})
        other = both.predict({"photo": photo, "reading": -reading})
        assert one.index // 2 == other.index // 2 and one.index != other.index
        for wrong in (photo, {"photo": photo}, {"photo": photo, "reading": reading, "more": 1}):
            with pytest.raises(DataError, match="photo, reading"):
                both.predict(wrong)
    assert selftest(result.bundle).outcome == "ok"


def test_predict_takes_an_npz_with_an_array_for_each_input(
    folder: Path, result: ReleaseResult, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load(folder / "both.npz") as data:
        np.savez(folder / "one.npz", photo=data["photo"][3], reading=data["reading"][3])
    target = folder / "answer.json"
    assert (
        main(["predict", str(result.bundle), str(folder / "one.npz"), "--json", str(target)]) == 0
    )
    assert "one.npz: " in capsys.readouterr().out
    assert len(json.loads(target.read_text())["predictions"]) == 1
    np.savez(folder / "half.npz", photo=np.zeros((8, 8, 3), np.uint8))
    assert main(["predict", str(result.bundle), str(folder / "half.npz")]) == 2
    assert "photo, reading" in capsys.readouterr().err
