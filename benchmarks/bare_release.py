"""What an engineer would write without edgetl, for one classifier: the other side of a comparison.

It takes the same trained ResNet and the same data as a release with `[model]`, and does the same
work with the libraries directly, in one process: temperature, export to ONNX and a check of it,
INT8 by onnxruntime.quantization, OpenVINO IRs, temperatures fitted again, answers of everyone on
val, latency in interleaved rounds, the fastest of each backend on test. It imports nothing of
edgetl. `bench_overhead.py` runs it beside `edgetl release` and compares the wall times.

It resizes every image once and keeps the result; it opens every model once; it proves nothing, can
not be resumed, and packs nothing but the files.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import openvino as ov
import torch
import torchvision
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image
from safetensors.torch import load_file
from scipy.optimize import minimize_scalar

Array = NDArray[Any]
BATCH = 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Whole(torch.nn.Module):
    """uint8 NHWC to probabilities (and raw logits)."""

    def __init__(self, network: torch.nn.Module, temperature: float = 1.0) -> None:
        super().__init__()
        self.network, self.temperature = network, temperature
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        pixels = image.to(torch.float32).permute(0, 3, 1, 2) / 255
        return self.network((pixels - self.mean) / self.std)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.logits(image) / self.temperature, dim=1)


class Samples(CalibrationDataReader):
    """What onnxruntime.quantization asks for samples, eight at a time."""

    def __init__(self, images: Array) -> None:
        self._batches = iter([{"image": images[i : i + 8]} for i in range(0, len(images), 8)])

    def get_next(self) -> dict[str, Array] | None:
        return next(self._batches, None)


def main() -> None:
    options = _options()
    counts: Counter[str] = Counter()
    torch.set_num_threads(options.threads)
    splits = _splits(options)
    network = getattr(torchvision.models, options.architecture)(num_classes=10)
    network.load_state_dict(load_file(options.weights))
    whole = Whole(network).eval()

    def reference(images: Array) -> Array:
        with torch.inference_mode():
            return whole(torch.from_numpy(images)).numpy()

    def answers(run: Callable[[Array], Array], split: str) -> Array:
        images = splits[split][0]
        counts[split] += len(images)
        return np.concatenate([run(images[i : i + BATCH]) for i in range(0, len(images), BATCH)])

    # The temperature of the reference, then one ONNX file that holds it.
    labels = {name: split[1] for name, split in splits.items()}
    raw = np.log(answers(reference, "calib") + 1e-12)
    whole.temperature = _temperature(raw, labels["calib"])
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    _export(whole, out / "fp32.onnx", splits["val"][0][:2])
    _quantize(out, splits["train"][0])
    runs = _load(out, options.threads)

    # The export answers as PyTorch does.
    splits["parity"] = (splits["calib"][0][: options.parity], labels["calib"][: options.parity])
    expected = _softmax(raw / whole.temperature)[: options.parity]
    difference = np.abs(answers(runs["ort-fp32"], "parity") - expected).max()
    assert difference < 1e-4, difference

    # A second temperature for what is below FP32, and what it did on val.
    second = dict.fromkeys(runs, 1.0)
    for name in ("ort-int8", "ov-bf16", "ov-int8"):
        logits = np.log(answers(runs[name], "calib") + 1e-12)
        second[name] = _temperature(logits, labels["calib"])
        for _ in range(2):
            _nll(answers(runs[name], "val"), labels["val"])

    def cooled(name: str, split: str) -> Array:
        return _softmax(np.log(answers(runs[name], split) + 1e-12) / second[name])

    p50 = _latency({"reference": reference, **runs}, splits["val"][0][:1], options)
    on_val = {"reference": answers(reference, "val")}
    on_val |= {name: cooled(name, "val") for name in runs}
    winners = {
        backend: min((name for name in runs if name.startswith(backend)), key=lambda n: p50[n])
        for backend in ("ort", "ov")
    }
    on_test = {"reference": answers(reference, "test")}
    on_test |= {name: cooled(name, "test") for name in winners.values()}
    report = {
        name: _figures(found, on_test["reference"], labels["test"])
        for name, found in on_test.items()
    }
    for name, row in report.items():
        print(name, {key: round(value, 4) for key, value in row.items()})
    result = {
        "val_top1": {n: float((p.argmax(1) == labels["val"]).mean()) for n, p in on_val.items()},
        "p50": p50,
        "winners": winners,
        "test": report,
        "images": counts,
    }
    (out / "result.json").write_text(json.dumps(result, indent=2))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--architecture", default="resnet18")
    parser.add_argument("--data", default="digits", help="digits, or a folder of IDX files")
    for name in ("train", "val", "calib", "test", "parity", "size", "threads", "rounds", "calls"):
        parser.add_argument(f"--{name}", type=int, required=True)
    return parser.parse_args()


def _splits(options: argparse.Namespace) -> dict[str, tuple[Array, Array]]:
    """Name -> resized images, uint8 [n, size, size, 3], and labels."""
    if options.data == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        train = test = (images, digits.target)
    else:
        folder = Path(options.data)
        train, test = (_idx_pair(folder, part) for part in ("train", "t10k"))
    order = np.random.default_rng(0).permutation(len(train[0]))
    splits, start = {}, 0
    for name in ("train", "val", "calib"):
        splits[name] = order[start : start + getattr(options, name)]
        start += getattr(options, name)
    found = {name: _resized(train, rows, options.size) for name, rows in splits.items()}
    rows = order[start:] if test is train else np.arange(len(test[0]))
    found["test"] = _resized(test, rows[: options.test], options.size)
    return found


def _idx_pair(folder: Path, part: str) -> tuple[Array, Array]:
    return (
        _idx(folder / f"{part}-images-idx3-ubyte.gz"),
        _idx(folder / f"{part}-labels-idx1-ubyte.gz").astype(np.int64),
    )


def _idx(path: Path) -> Array:
    data = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(data, ">i4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def _resized(source: tuple[Array, Array], rows: Array, size: int) -> tuple[Array, Array]:
    images, labels = source
    box = (size, size)
    small = [Image.fromarray(images[row]).resize(box, Image.Resampling.BILINEAR) for row in rows]
    return np.stack([np.asarray(image.convert("RGB")) for image in small]), labels[rows]


def _temperature(logits: Array, labels: Array) -> float:
    found = minimize_scalar(
        lambda log: _nll(_softmax(logits / np.exp(log)), labels), bounds=(-3, 3), method="bounded"
    )
    return float(np.exp(found.x))


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _nll(probabilities: Array, labels: Array) -> float:
    return float(-np.log(probabilities[np.arange(len(labels)), labels] + 1e-12).mean())


def _export(whole: Whole, path: Path, example: Array) -> None:
    torch.onnx.export(
        whole,
        (torch.from_numpy(example),),
        str(path),
        dynamo=True,
        opset_version=20,
        input_names=["image"],
        output_names=["probabilities"],
        dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
        external_data=False,
        verbose=False,
    )


def _quantize(out: Path, images: Array) -> None:
    quant_pre_process(str(out / "fp32.onnx"), str(out / "prepared.onnx"))
    quantize_static(
        str(out / "prepared.onnx"),
        str(out / "int8.onnx"),
        Samples(images),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv", "MaxPool", "Add"],
    )


def _load(out: Path, threads: int) -> dict[str, Callable[[Array], Array]]:
    """Every candidate: uint8 [n, size, size, 3] to probabilities [n, classes]."""
    runs: dict[str, Callable[[Array], Array]] = {}
    core = ov.Core()
    for precision in ("fp32", "int8"):
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        session = ort.InferenceSession(
            out / f"{precision}.onnx", options, providers=["CPUExecutionProvider"]
        )
        runs[f"ort-{precision}"] = lambda x, session=session: session.run(None, {"image": x})[0]
        ov.save_model(
            ov.convert_model(out / f"{precision}.onnx"),
            out / f"{precision}.xml",
            compress_to_fp16=False,
        )
    for name, file, hint in (
        ("ov-fp32", "fp32", "f32"),
        ("ov-bf16", "fp32", "bf16"),
        ("ov-int8", "int8", "f32"),
    ):
        settings = {
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        request = core.compile_model(out / f"{file}.xml", "CPU", settings).create_infer_request()
        runs[name] = lambda x, request=request: request.infer({"image": x})["probabilities"]
    return runs


def _latency(
    runs: Mapping[str, Callable[[Array], Array]], image: Array, options: argparse.Namespace
) -> dict[str, float]:
    """The p50 of each, milliseconds, from rounds in random order; the first side runs twice."""
    sides = [*runs, next(iter(runs))]
    for name in sides:
        _warm(runs[name], image, options.calls)
    random = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for position in random.permutation(len(sides)):
            name = sides[position]
            seconds[name] += _timed(runs[name], image, options.calls + 5)[5:]
    return {name: float(np.median(found)) * 1e3 for name, found in seconds.items()}


def _warm(run: Callable[[Array], Array], image: Array, calls: int) -> None:
    """Until three medians agree within 2 %, for 0.2 to 3 seconds."""
    medians: list[float] = []
    spent = 0.0
    while spent < 3.0:
        found = _timed(run, image, min(calls, 5))
        medians.append(float(np.median(found)))
        spent += sum(found)
        if spent >= 0.2 and max(medians[-3:]) <= 1.02 * min(medians[-3:]):
            return


def _timed(run: Callable[[Array], Array], image: Array, calls: int) -> list[float]:
    found = []
    for _ in range(calls):
        start = time.perf_counter()
        run(image)
        found.append(time.perf_counter() - start)
    return found


def _figures(found: Array, reference: Array, labels: Array) -> dict[str, float]:
    return {
        "top1": float((found.argmax(1) == labels).mean()),
        "nll": _nll(found, labels),
        "brier": float(((found - np.eye(found.shape[1])[labels]) ** 2).sum(axis=1).mean()),
        "flips": float((found.argmax(1) != reference.argmax(1)).mean()),
    }


if __name__ == "__main__":
    main()
