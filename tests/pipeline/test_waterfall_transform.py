"""The user's own decoder and transform, on pictures of which half are rotated by their EXIF."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from PIL import Image
from torch import nn

from edgetl.data.content import sample_ids
from edgetl.data.dataset import Dataset
from edgetl.data.samples import EncodedImages
from edgetl.data.splits import Splits
from edgetl.data.store import save_splits
from edgetl.errors import EdgetlError, ModelError, WorkerError
from edgetl.export.onnx_from_torch import onnx_from_torch
from edgetl.files import write_json
from edgetl.gate.toml_table import build
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.events import Reporter, ignore
from edgetl.pipeline.run_folder import RunFolder
from edgetl.pipeline.waterfall import Waterfall, waterfall
from edgetl.pipeline.waterfall_transform import own_answers
from edgetl.reference.checkpoint import save_classifier
from edgetl.reference.description import ClassifierDescription
from edgetl.reference.onnx_checkpoint import save_onnx_classifier
from edgetl.spec import Head, ImageInput

CLASSES = ("a", "b", "c")
SPEC = ImageInput(height=8, width=8, mean=(0.5,) * 3, std=(0.25,) * 3)
COUNT = 40

MODULE = """
import io, os
import numpy as np
import torch
from PIL import Image
from torch import nn


def make(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(192, classes))


def own(picture):
    print("looked at")
    pixels = np.asarray(picture.resize((8, 8), Image.Resampling.BILINEAR))
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
    return (tensor - 0.5) / 0.25


class Loads:
    def __call__(self, picture):
        return own(picture)

    def decode(self, data):
        # As plain Pillow: no EXIF orientation.
        return Image.open(io.BytesIO(data)).convert("RGB")


def brighter(picture):
    return own(picture) + 1.0


def failing(picture):
    raise RuntimeError("no such filter")


def leaving(picture):
    os._exit(7)


loads = Loads()
"""


def picture(seed: int) -> bytes:
    """16 × 12 pixels of noise, every second one to be turned by a quarter."""
    rng = np.random.default_rng(seed)
    small = rng.integers(256, size=(3, 4, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((16, 12), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6 if seed % 2 else 1
    stream = io.BytesIO()
    image.save(stream, "PNG", exif=exif)
    return stream.getvalue()


def network() -> nn.Sequential:
    torch.manual_seed(3)
    made = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    with torch.no_grad():
        made[1].weight *= 4
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> StageContext:
    """The folders that the stages up to compile would leave, for one FP32 candidate."""
    root = tmp_path_factory.mktemp("own")
    (root / "noise_net.py").write_text(MODULE)
    folder = RunFolder(root / "run")
    folder.root.mkdir()
    images = EncodedImages(tuple(picture(seed) for seed in range(COUNT + 9)))
    labels = np.arange(len(images)) % 3
    data = Dataset(
        name="noise", images=images, labels=labels, classes=CLASSES, ids=sample_ids(images)
    )
    parts = np.split(np.arange(len(images)), [COUNT, COUNT + 3, COUNT + 6])
    save_splits(
        folder.stage("data"),
        data,
        Splits(val=parts[0], calib=parts[1], train=parts[2], test=parts[3]),
    )
    head = Head(layer="1", classes=CLASSES, temperature=1.5)
    description = ClassifierDescription(architecture="python:noise_net:make", input=SPEC, head=head)
    save_classifier(folder.stage("calibrate"), network(), description, code=root)
    finish(folder, onnx_from_torch(network(), input=SPEC, head=head))
    return opened(folder, root, architecture="python:noise_net:make", weights="factory")


def finish(folder: RunFolder, model: bytes) -> None:
    for file in ("export/model.onnx", "quantize/ort-fp32.onnx", "compile/models/ort-fp32.onnx"):
        (folder.root / file).parent.mkdir(parents=True, exist_ok=True)
        (folder.root / file).write_bytes(model)
    write_json(folder.stage("quantize") / "refit.json", {})
    folder.write_record(folder.stage("compile"), key="k", inputs={}, seconds=1.0)


def opened(folder: RunFolder, code: Path, **model: str | None) -> StageContext:
    table = {
        "schema": "edgetl.config/1",
        "name": "own",
        "version": "1.0.0",
        "threads": 1,
        "code": str(code),
        "data": {"source": "folder:photos", "val": COUNT, "calib": 3},
        "input": {"height": 8, "width": 8, "mean": [0.5] * 3, "std": [0.25] * 3},
        "compile": {"variants": ["ort-fp32"]},
        "model": model,
    }
    config = build(ReleaseConfig, table, "own")
    reporter = Reporter("waterfall", ignore)
    return StageContext(config=config, folder=folder, reporter=reporter, scratch=folder.root)


def with_transform(run: StageContext, name: str) -> StageContext:
    transform = f"python:noise_net:{name}"
    return opened(
        run.folder,
        run.code,
        architecture="python:noise_net:make",
        weights="factory",
        transform=transform,
    )


def steps(found: Waterfall) -> dict:
    return {step.name: step for step in found.steps}


def test_without_a_transform_both_steps_are_skipped(run: StageContext) -> None:
    found = steps(waterfall(run, "ort-fp32", images=COUNT))
    assert found["decode"].skipped and found["resize"].skipped
    assert "[model] transform" in found["resize"].note
    assert found["export"].max_difference < 1e-5


def test_a_decoder_that_ignores_the_orientation_is_the_step_that_is_seen(run: StageContext) -> None:
    found = waterfall(with_transform(run, "loads"), "ort-fp32", images=COUNT)
    decode, resize = steps(found)["decode"], steps(found)["resize"]
    assert 0 < decode.flips <= COUNT / 2 and decode.mean_kl > 0.01
    assert (decode.before, decode.after, resize.after) == (
        "PyTorch, own transform and decoder",
        "PyTorch, own transform",
        "PyTorch",
    )
    assert resize.max_difference < 1e-5
    # Only what was turned differs.
    turned = own_answers(with_transform(run, "loads"), COUNT)
    assert turned is not None and turned.decoded is not None
    apart = np.abs(turned.decoded - turned.transformed).max(axis=1)
    assert (apart[1::2] > 1e-3).all() and (apart[::2] < 1e-6).all()
    assert found.total.flips == decode.flips


def test_another_normalisation_is_seen_at_the_pixels(run: StageContext) -> None:
    found = own_answers(with_transform(run, "brighter"), 12)
    assert found is not None and found.transformed.shape == (12, 3)
    assert found.pixel_difference == pytest.approx(0.25 * 255, abs=0.01)
    assert found.mean_pixel_difference == pytest.approx(0.25 * 255, abs=0.01)
    assert found.transformed.sum(axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("failing", ModelError, "no such filter"),
        ("leaving", WorkerError, "exit status 7"),
    ],
)
def test_what_fails_is_one_error(
    run: StageContext, name: str, kind: type[EdgetlError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        own_answers(with_transform(run, name), 2)


def test_an_onnx_file_as_it_came_is_the_reference(run: StageContext, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(run.folder.root, folder.root)
    shutil.rmtree(folder.stage("calibrate"))
    brought = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[n, 3, 8, 8] x) => (float[n, 3] y) {f = Flatten(x) z = MatMul(f, w) y = Add(z, b)}
        """
    )
    weights, bias = (one.detach().numpy() for one in network()[1].parameters())
    for name, values in (("w", weights.T), ("b", bias)):
        brought.graph.initializer.append(numpy_helper.from_array(values.copy(), name))
    head = Head(layer="", classes=CLASSES, temperature=1.5)
    description = ClassifierDescription(architecture="onnx", input=SPEC, head=head, output="logits")
    save_onnx_classifier(folder.stage("calibrate"), brought.SerializeToString(), description)
    context = opened(
        folder, run.code, onnx="m.onnx", output="logits", transform="python:noise_net:own"
    )
    found = waterfall(context, "ort-fp32", images=COUNT)
    assert found.total.before == "the ONNX file as it came, own transform"
    assert steps(found)["decode"].skipped and "decode(data)" in steps(found)["decode"].note
    assert steps(found)["export"].before == "the ONNX file as it came"
    assert steps(found)["resize"].max_difference < 1e-5
    assert steps(found)["export"].max_difference < 1e-5
