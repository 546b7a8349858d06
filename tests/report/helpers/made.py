"""A small release, made up from seeds: what the report is tested with."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl.bench.measure import Samples
from edgetl.bench.result import Run, result_of
from edgetl.data.decode import encode_png
from edgetl.files import parse_json
from edgetl.gate import JudgedData, JudgedVariant, Policy, Predictions, ReleaseVerdict, judge
from edgetl.gate.render import to_json
from edgetl.gate.selection import Candidate, select
from edgetl.pipeline.transfer import write_transfer
from edgetl.report import Flip, ReportData

CLASSES = ("cat", "dog", "eel", "fox")
POLICY = Policy(
    max_accuracy_drop=0.05,
    max_nll_increase=0.1,
    max_brier_increase=0.05,
    max_confidence_gap=0.05,
    max_log_temperature_ratio=0.3,
    max_flip_rate=0.1,
    max_worst_class_drop=0.2,
    max_slice_drop=0.2,
    slices=("camera",),
)


def answers(n: int, classes: tuple[str, ...], *, noise: float, seed: int = 0) -> Predictions:
    """Labelled answers over `classes`; more noise, other answers."""
    random = np.random.default_rng(seed)
    k = len(classes)
    labels = random.integers(k, size=n)
    logits = 1.6 * np.eye(k)[labels] + random.normal(size=(n, k))
    logits += noise * np.random.default_rng(seed + 1).normal(size=(n, k))
    return Predictions(
        labels=labels,
        logits=logits,
        classes=classes,
        ids=[f"{row:064x}" for row in range(n)],
        slices={"camera": np.array(["day", "dusk", "night"])[random.integers(3, size=n)]},
    )


def seconds() -> dict[str, NDArray[np.float64]]:
    """Latency samples float64 [8 rounds, 20 calls] of five sides."""
    random = np.random.default_rng(7)
    sides = {"reference": 3e-3, "ort-fp32": 1e-3, "ov-int8": 4e-4, "ov-bad": 3e-4, "control": 3e-3}
    return {
        name: level * np.exp(random.normal(0, 0.05, size=(8, 20))) for name, level in sides.items()
    }


def predictions(classes: tuple[str, ...] = CLASSES) -> dict[str, dict[str, Predictions]]:
    """Of the reference and the variants, on val and on test."""
    noises = {"reference": 0.0, "ort-fp32": 0.0, "ov-int8": 0.08, "ov-bad": 1.5}
    return {
        split: {
            name: answers(n, classes, noise=noise, seed=seed)
            for name, noise in noises.items()
            if split == "val" or name != "ov-bad"
        }
        for split, n, seed in (("val", 200, 11), ("test", 600, 23))
    }


def verdict(on: dict[str, dict[str, Predictions]], winners: tuple[str, ...]) -> dict[str, Any]:
    """`edgetl.verdict/1` of the winners on test."""
    test = on["test"]
    return to_json(
        ReleaseVerdict(
            policy=POLICY,
            data=JudgedData(name="made", split="test", n=600, hash=test["reference"].data_hash()),
            variants=tuple(
                JudgedVariant(
                    id=name,
                    backend="openvino" if name.startswith("ov") else "onnxruntime",
                    precision="fp32" if name.endswith("fp32") else "int8",
                    file=f"models/{name}.onnx",
                    verdict=judge(test["reference"], test[name], POLICY),
                )
                for name in winners
            ),
        )
    )


def bench() -> dict[str, Any]:
    """`edgetl.bench/1` of the samples."""
    samples = Samples(
        seconds=seconds(),
        settled=dict.fromkeys(seconds(), True),
        asked_rounds=8,
        asked_calls=20,
        elapsed_seconds=1.0,
    )
    run = Run(samples=samples, batch=1, threads=2, control_of="reference")
    machine = {"cpu": "made", "cores": 2, "packages": {"numpy": "2"}, "warnings": ["a busy hour"]}
    return result_of([run], machine=machine, footprints={}).to_json()


def flips(on: dict[str, dict[str, Predictions]]) -> tuple[Flip, ...]:
    """Every flip of ov-int8 on test, with a picture and two maps."""
    from edgetl.report.facts import facts_of
    from edgetl.report.flips import flips_of

    random = np.random.default_rng(5)
    data = ReportData(verdict=verdict(on, ("ov-int8",)), predictions=on)
    return tuple(
        Flip(
            **{name: getattr(flip, name) for name in _PLAIN},
            picture=encode_png(random.integers(0, 256, (12, 10, 3), dtype=np.uint8)),
            reference_map=random.normal(size=(8, 8)).astype(np.float32) / 10,
            variant_map=random.normal(size=(8, 8)).astype(np.float32) / 10,
        )
        for flip in flips_of(facts_of(data))
    )


def waterfall(variant: str = "ov-int8") -> dict[str, Any]:
    """`edgetl.waterfall/1`: two steps that were not measured, four that were."""
    steps = [
        ("decode", "PyTorch", "PyTorch", 0, 0.0, 0.0, "a tensor is used as it is", True),
        ("resize", "PyTorch", "PyTorch", 0, 0.0, 0.0, "a tensor is used as it is", True),
        ("export", "PyTorch", "FP32 ONNX, as written", 0, 2e-10, 4e-6, "", False),
        ("precision", "FP32 ONNX, as written", "INT8 ONNX, as written", 5, 0.004, 0.2, "", False),
        ("backend", "INT8 ONNX, as written", "openvino, int8, CPU", 1, 1e-4, 0.02, "", False),
        ("device", "openvino, int8, CPU", "openvino, int8, CPU", 0, 0.0, 0.0, "on the CPU", True),
    ]
    keys = ("name", "from", "to", "flips", "mean_kl", "max_difference", "note", "skipped")
    found = [dict(zip(keys, step, strict=True)) for step in steps]
    total = {**found[3], "name": "total", "from": "PyTorch", "to": "openvino, int8, CPU"}
    layers = [
        ("conv1", "Conv", 21.4, 21.4),
        ("conv7", "Conv", 27.9, 19.8),
        ("fc", "Gemm", 31.0, 24),
    ]
    return {
        "schema": "edgetl.waterfall/1",
        "variant": variant,
        "split": "val",
        "n": 200,
        "steps": [step | {"flip_rate": step["flips"] / 200} for step in found],
        "total": total | {"flips": 4, "flip_rate": 0.02},
        "layers": [
            {"name": name, "operator": operator, "sqnr_db": sqnr, "accumulated_db": accumulated}
            for name, operator, sqnr, accumulated in layers
        ],
        "layer_n": 32,
    }


def transfer(on: dict[str, dict[str, Predictions]]) -> dict[str, Any]:
    """`edgetl.thresholds/1` and `edgetl.conformal/1`, as the gate stage writes them."""
    test = on["test"]
    noises = {"reference": 0.0, "ort-fp32": 0.0, "ov-int8": 0.08}
    classes = test["reference"].classes
    assert classes is not None
    calib = {name: answers(300, classes, noise=noise, seed=31) for name, noise in noises.items()}
    with TemporaryDirectory() as folder:
        write_transfer(Path(folder), calib=calib, test={name: test[name] for name in noises})
        return {
            name: parse_json((Path(folder) / f"{name}.json").read_bytes(), name)
            for name in ("thresholds", "conformal")
        }


_PLAIN = (
    "index",
    "content_id",
    "label",
    "reference_class",
    "candidate_class",
    "reference_probability",
    "candidate_probability",
    "variant",
    "negative",
)


def report(classes: tuple[str, ...] = CLASSES, **changes: Any) -> ReportData:
    """A whole report's data."""
    on = predictions(classes)
    variants = ("ort-fp32", "ov-int8", "ov-bad")
    measured = bench()
    cells = {cell["variant"]: cell for cell in measured["cells"]}
    selection = select(
        {
            name: Candidate(
                backend="openvino" if name.startswith("ov") else "onnxruntime",
                predictions=on["val"][name],
                p50_ms=cells[name]["p50_ms"],
            )
            for name in variants
        },
        on["val"]["reference"],
        POLICY,
    )
    values: dict[str, Any] = {
        "verdict": verdict(on, ("ov-int8", "ort-fp32")),
        "name": "pets",
        "version": "1.2.0",
        "bench": measured,
        "samples": seconds(),
        "predictions": on,
        "history": {
            "best_epoch": 3,
            "kept": "Epoch 3 of 3 was kept: the lowest NLL on val, 0.3333.",
            "config": {"recipe": "two-stage", "loss": "cross-entropy", "augment": "none"},
            "device": "cpu",
            "images": {"train": 900, "val": 200},
            "epochs": [
                {
                    "epoch": e,
                    "phase": phase,
                    "loss": 2 / e,
                    "learning_rate": 4e-3 / e,
                    "terms": {"l2-sp": 0.1 * e},
                    "nll": 1 / e,
                    "top1": 1 - 0.4 / e,
                    "ece": 0.1,
                }
                for e, phase in enumerate(("head", "all", "all"), 1)
            ],
        },
        "calibration": {"temperature": 1.3, "n": 200, "nll": {"before": 0.5, "after": 0.4}},
        "refit": {"ov-int8": {"temperature": 1.01, "n": 200}},
        "execution": {
            "ov-int8": {
                "backend": "openvino",
                "device": "CPU",
                "version": "1",
                "threads": 2,
                "layers": [{"name": "a", "precision": "u8"}, {"name": "b", "precision": "f32"}],
                "settings": {"hint": "latency"},
            }
        },
        "selection": asdict(selection),
        "rows": [_row(name, cells[name]) for name in ("reference", *variants)],
        "flips": flips(on),
        "config": {"name": "pets", "seed": 0},
        "waterfalls": [waterfall()],
        **transfer(on),
        "transfer_check": {
            "schema": "edgetl.transfer-check/1",
            "gap": {"mmd": 0.12, "domain_accuracy": 0.93},
            "this": {"top1": 0.9, "nll": 0.4, "ece": 0.03},
            "from_scratch": {
                "top1": 0.81,
                "nll": 0.6,
                "ece": 0.05,
                "minus_this": {"estimate": -0.09, "low": -0.12, "high": -0.06},
            },
            "source_model": {"top1": 0.42, "nll": 1.9, "ece": 0.2},
            "negative": False,
            "sentence": "Training from letters is 9.0 points better than from scratch.",
        },
        "suspicious": {
            "schema": "edgetl.suspicious/1",
            "n": 900,
            "judged": 900,
            "agreement": 0.91,
            "look_wrong": 2,
            "images": [
                {
                    "id": f"{at:064x}",
                    "index": at,
                    "file": f"cat/{at:03}.jpg",
                    "label": "cat",
                    "predicted": "dog",
                    "probability_of_label": 0.01 * at,
                    "answer": "dog",
                    "looks_wrong": at != 9,
                }
                for at in (3, 7, 9)
            ],
        },
        "suspicious_pictures": {3: encode_png(np.full((12, 10, 3), 90, np.uint8)), 7: b"no PNG"},
        "openings": [
            {"winners": {"ov-int8": "00"}, "policy": "aa", "reference": "bb", "test": "cc"}
        ],
    }
    return ReportData(**(values | changes))


def _row(name: str, cell: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": name,
        "backend": "pytorch" if name == "reference" else "made",
        "precision": "fp32" if name in ("reference", "ort-fp32") else "int8",
        "size_mb": None if name == "reference" else 10.0,
        "p50_ms": cell["p50_ms"],
        "p99_ms": cell["p99_ms"],
        "speed_over_reference": 1.0,
        "speed_over_fp32": None,
        "top1": 0.9,
        "nll": 0.3,
        "ece": 0.02,
        "split": "val" if name == "ov-bad" else "test",
        "verdict": "ruled out" if name == "ov-bad" else "PASS",
    }
