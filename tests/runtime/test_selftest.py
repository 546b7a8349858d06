from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.backends import registry
from edgetl.backends.fake import FakeBackend
from edgetl.bundle import BundleContent, GoldenSet, open_bundle
from edgetl.errors import BundleError, UnavailableError, UsageError
from edgetl.runtime.selftest import selftest
from edgetl.spec import ImageInput, TensorSpec

IDS = ["ort-fp32", "openvino-fp32"]


def _golden(content: BundleContent, **changes: Any) -> GoldenSet:
    assert content.golden is not None
    return dataclasses.replace(content.golden, **changes)


def test_a_right_bundle_is_ok_on_this_device(bundle: Path) -> None:
    report = selftest(bundle, threads=1)
    assert (report.outcome, report.ok, report.exit_code) == ("ok", True, 0)
    assert (report.golden, report.inputs) == ("real", 6)
    assert [check.variant for check in report.variants] == IDS
    for check in report.variants:
        assert check.outcome == "ok"
        assert check.max_difference is not None and check.max_difference <= 1e-5
        assert check.tolerance == 1e-3
        assert check.top1_agreement == check.reference_agreement == 1.0
    assert json.loads(json.dumps(report.to_json()))["outcome"] == "ok"
    assert report.lines()[-1].startswith("colours-1.0.edgetl: OK (compared with")


def test_another_answer_than_the_bundles_own_is_not_ok(content: BundleContent, write: Any) -> None:
    assert content.golden is not None
    own = dict(content.golden.answers)
    # Rolled by one input: probabilities still, but of another picture.
    own["ort-fp32"] = np.roll(own["ort-fp32"], 1, axis=0)
    report = selftest(write(golden=_golden(content, answers=own)), threads=1)
    assert (report.outcome, report.exit_code) == ("not ok", 1)
    first, second = report.variants
    assert first.outcome == "not ok" and second.outcome == "ok"
    assert first.max_difference is not None and first.max_difference > 0.1
    assert first.top1_agreement is not None and first.top1_agreement < 1
    assert first.reference_agreement == 1.0
    assert "does not answer as the bundle says" in report.lines()[0]


def _answering(monkeypatch: pytest.MonkeyPatch, answers: dict[str, np.ndarray]) -> None:
    """Every variant answers its golden inputs with the given rows."""

    def load(variant: Any, files: Any, **options: Any) -> FakeBackend:
        return FakeBackend(
            lambda inputs: {"probabilities": answers[variant.id]},
            input_spec={"image": ImageInput(height=12, width=12).tensor},
            output_spec={
                "probabilities": TensorSpec(name="probabilities", dtype="float32", shape=(None, 4))
            },
        )

    monkeypatch.setattr(registry, "load", load)


@pytest.mark.parametrize(
    ("shift", "expected"), [(0.0, "ok"), (0.0009, "ok"), (0.0011, "not ok"), (0.3, "not ok")]
)
def test_the_tolerance_of_the_manifest_decides(
    content: BundleContent, write: Any, monkeypatch: pytest.MonkeyPatch, shift: float, expected: str
) -> None:
    row = np.array([[0.625, 0.375, 0, 0]] * 6, np.float32)
    path = write(golden=_golden(content, answers=dict.fromkeys(IDS, row)))
    moved = row + np.array([-shift, shift, 0, 0], np.float32)
    _answering(monkeypatch, {"ort-fp32": moved, "openvino-fp32": row})
    report = selftest(path)
    assert [check.outcome for check in report.variants] == [expected, "ok"]
    assert report.variants[0].max_difference == pytest.approx(shift, abs=1e-6)


@pytest.mark.parametrize(("margin", "expected"), [(0.03, "ok"), (0.06, "not ok")])
def test_a_flipped_class_counts_where_the_golden_answer_was_clear(
    content: BundleContent,
    write: Any,
    monkeypatch: pytest.MonkeyPatch,
    margin: float,
    expected: str,
) -> None:
    row = np.array([[0.5 + margin / 2, 0.5 - margin / 2, 0, 0]] * 6, np.float32)
    golden = _golden(content, answers=dict.fromkeys(IDS, row), tolerance=dict.fromkeys(IDS, 0.045))
    path = write(golden=golden)
    flipped = row.copy()
    flipped[0] += np.array([-0.04, 0.04, 0, 0], np.float32)
    _answering(monkeypatch, {"ort-fp32": flipped, "openvino-fp32": row})
    check = selftest(path).variants[0]
    assert check.top1_agreement == pytest.approx(5 / 6)
    assert check.max_difference == pytest.approx(0.04, abs=1e-6)
    assert check.outcome == expected


def test_nan_is_not_ok(content: BundleContent, bundle: Path, monkeypatch: Any) -> None:
    assert content.golden is not None
    nan = np.full((6, 4), np.nan, np.float32)
    right = content.golden.answers["openvino-fp32"]
    _answering(monkeypatch, {"ort-fp32": nan, "openvino-fp32": right})
    first, second = selftest(bundle).variants
    assert (first.outcome, second.outcome) == ("not ok", "ok")
    assert "NaN" in first.note


def test_without_a_golden_set_nothing_passes_by_default(write: Any) -> None:
    report = selftest(write(golden=None), threads=1)
    assert (report.outcome, report.golden, report.inputs) == ("not checked", "none", 0)
    assert report.exit_code == 0
    assert all(check.outcome == "not checked" for check in report.variants)
    assert all(check.max_difference is None for check in report.variants)
    assert "NOT CHECKED" in report.lines()[-1]
    assert "no golden answers" in report.lines()[-1]


def test_without_a_golden_set_a_model_must_still_load_and_answer(
    write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = np.array([[0.5, 0.5, 0, 0]] * 2, np.float32)
    _answering(monkeypatch, {"ort-fp32": half * 2, "openvino-fp32": half})
    first, second = selftest(write(golden=None)).variants
    assert (first.outcome, second.outcome) == ("not ok", "not checked")


def test_without_a_golden_set_two_answers_to_one_input_are_not_ok(
    write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = np.array([[0.5, 0.5, 0, 0]] * 2, np.float32)
    calls = []

    class Wavering(dict):  # type: ignore[type-arg]
        def __getitem__(self, key: str) -> np.ndarray:
            calls.append(key)
            return np.roll(half, len(calls), axis=1)

    _answering(monkeypatch, Wavering())
    report = selftest(write(golden=None))
    assert report.outcome == "not ok"
    assert "two answers" in report.variants[0].note


def test_a_tensor_classifier_without_golden_set_is_run(tensor_bundle: Path) -> None:
    assert selftest(tensor_bundle, threads=1).outcome == "not checked"


def test_a_model_that_does_not_load_does_not_hide_the_others(
    content: BundleContent, write: Any
) -> None:
    models = {**content.models, "models/net.onnx": b""}
    report = selftest(write(models=models), threads=1)
    assert [check.outcome for check in report.variants] == ["not ok", "ok"]
    assert report.variants[0].note
    assert report.exit_code == 1


def test_a_missing_backend_is_listed_and_no_pass(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here: dict[str, Any] = {"onnxruntime": "not installed: because", "openvino": True}
    monkeypatch.setattr(registry, "available", lambda: here)
    report = selftest(bundle, threads=1)
    assert [check.outcome for check in report.variants] == ["not here", "ok"]
    assert "because" in report.lines()[0]
    here["openvino"] = "neither"
    with pytest.raises(UnavailableError, match="because"):
        selftest(bundle)


def test_one_variant_or_backend_can_be_asked_for(bundle: Path) -> None:
    opened = open_bundle(bundle)
    assert [c.variant for c in selftest(opened, backend="onnxruntime", threads=1).variants] == IDS[
        :1
    ]
    assert [c.variant for c in selftest(opened, variant=IDS[1], threads=1).variants] == IDS[1:]
    for wrong in ({"backend": "none"}, {"variant": "none"}):
        with pytest.raises(UsageError):
            selftest(opened, **wrong)


def test_a_damaged_bundle_is_said_before_anything_is_loaded(
    content: BundleContent, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write()
    (path / "models/net.bin").write_bytes(b"")
    monkeypatch.setattr(registry, "load", lambda *_, **__: pytest.fail("a loader was called"))
    with pytest.raises(BundleError, match=r"models/net\.bin"):
        selftest(path)


def test_a_device_can_be_asked_for(bundle: Path) -> None:
    report = selftest(bundle, device="CPU", threads=1)
    assert [(check.variant, check.outcome) for check in report.variants] == [(IDS[1], "ok")]
    assert [c.outcome for c in selftest(bundle, variant=IDS[0], device="CPU").variants] == ["ok"]
    with pytest.raises(UsageError, match="which is what this backend has"):
        selftest(bundle, backend="onnxruntime", device="GPU")


def test_a_device_that_is_absent_is_no_pass(bundle: Path) -> None:
    for options in ({}, {"backend": "openvino"}):
        with pytest.raises(UnavailableError, match=r"GPU\.7.*a machine with CPU") as caught:
            selftest(bundle, device="GPU.7", **options)
        assert caught.value.exit_code == 3
