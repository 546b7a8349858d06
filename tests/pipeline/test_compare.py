from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgetl.bench import measure
from edgetl.errors import EdgetlError, GateError
from edgetl.gate import Policy
from edgetl.pipeline import compare
from edgetl.pipeline.compare import Loading, compare_bundles
from tests.pipeline.helpers.colours import CLASSES, pictures, write_pictures, write_release

POLICY = Policy(max_accuracy_drop=0.05, max_nll_increase=0.05, max_log_temperature_ratio=0.4)


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Path:
    return write_release(tmp_path_factory.mktemp("old"), "1.0")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("photos"), 400)


def gates(release):
    return {gate.name: gate for gate in release.variants[0].verdict.gates}


def test_a_release_passes_against_itself(old, photos):
    release = compare_bundles(old, old, f"folder:{photos}", POLICY)
    assert release.verdict == "PASS"
    assert gates(release)["flips"].estimate == 0.0
    assert gates(release)["latency"].verdict == "NOT JUDGED"
    assert release.data.split == "all" and release.data.n == 400
    (variant,) = release.variants
    assert (variant.id, variant.backend) == ("colours-1.0 ort-fp32", "onnxruntime")
    first, fitted = variant.verdict.notes
    assert first == "the reference is colours-1.0 ort-fp32" and "is not checked" in fitted
    assert variant.verdict.metrics["reference"]["top1"] > 0.8


def test_a_worse_release_fails(old, photos, tmp_path):
    worse = write_release(tmp_path, "1.1", tilt=0.06)
    release = compare_bundles(old, worse, f"folder:{photos}", POLICY)
    assert release.verdict == "FAIL" and gates(release)["top1_drop"].verdict == "FAIL"


def test_another_order_of_classes_is_mapped_and_said(old, photos, tmp_path):
    turned = write_release(tmp_path, "1.1", classes=("blue", "red", "green"))
    for first, second in ((old, turned), (turned, old)):
        release = compare_bundles(first, second, f"folder:{photos}", POLICY)
        assert release.verdict == "PASS" and gates(release)["flips"].estimate == 0.0
        assert any("by name" in note for note in release.variants[0].verdict.notes)


def test_other_classes_are_refused(old, photos, tmp_path):
    other = write_release(tmp_path, "1.1", classes=("red", "green", "violet"))
    with pytest.raises(GateError, match="'blue'"):
        compare_bundles(old, other, f"folder:{photos}", POLICY)
    (photos_of_pets := tmp_path / "pets").mkdir()
    files, _ = pictures(4)
    for name, data in zip(("cat", "dog"), files, strict=False):
        (photos_of_pets / name).mkdir()
        (photos_of_pets / name / "1.png").write_bytes(data)
    with pytest.raises(GateError, match="'cat'"):
        compare_bundles(old, old, f"folder:{photos_of_pets}", POLICY)


def test_only_the_test_part_is_judged_and_slices_are_kept(old, tmp_path):
    files, labels = pictures(300)
    with (tmp_path / "all.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "label", "split", "camera"])
        for number, (data, label) in enumerate(zip(files, labels, strict=True)):
            (tmp_path / f"{number}.png").write_bytes(data)
            split = "train" if number < 100 else "test"
            rows.writerow([f"{number}.png", CLASSES[label], split, "ab"[number % 2]])
    policy = replace(POLICY, max_slice_drop=0.1)
    release = compare_bundles(old, old, f"csv:{tmp_path / 'all.csv'}", policy)
    assert (release.data.split, release.data.n) == ("test", 200)
    found = gates(release)
    assert found["slice:camera=a"].n == found["slice:camera=b"].n == 100


def test_what_the_policy_limits_is_measured(old, photos, monkeypatch):
    monkeypatch.setattr(
        compare,
        "interleave",
        lambda sides, **more: measure.interleave(
            sides,
            control=more["control"],
            calls=5,
            min_rounds=6,
            max_seconds=2.0,
            warm_up=measure.WarmUp(floor_seconds=0.0, cap_seconds=0.02),
        ),
    )
    policy = replace(POLICY, max_p50_ratio=50.0, max_size_mb=1.0, max_memory_mb=4096.0)
    release = compare_bundles(old, old, f"folder:{photos}", policy)
    found = gates(release)
    assert found["latency"].n == 6 and found["latency"].verdict == "PASS"
    assert 0.0 < found["size_mb"].estimate < 0.01
    assert found["memory_mb"].estimate > 10


def test_the_variant_that_is_named_is_taken(old, photos):
    for loading in (Loading(variant="ort-fp32"), Loading(backend="onnxruntime")):
        release = compare_bundles(old, old, f"folder:{photos}", POLICY, loading=loading)
        assert release.variants[0].id.endswith("ort-fp32")
    with pytest.raises(EdgetlError, match="ov-int8"):
        compare_bundles(old, old, f"folder:{photos}", POLICY, loading=Loading(variant="ov-int8"))


def test_labels_move_with_the_names(old, photos):
    """The data's classes are in alphabetical order, the bundle's are not."""
    release = compare_bundles(old, old, f"folder:{photos}", POLICY)
    assert sorted(CLASSES) != list(CLASSES)
    assert np.isclose(release.variants[0].verdict.metrics["candidate"]["top1"], 0.9, atol=0.1)
