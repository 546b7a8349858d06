from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from edgetl.bundle import open_bundle
from edgetl.bundle.fields import Node
from edgetl.bundle.tables import read_conformal, read_thresholds
from edgetl.calibration.conformal import COVERAGES, fit_conformal, label_sets
from edgetl.errors import GateError
from edgetl.gate import Predictions
from edgetl.metrics import softmax
from edgetl.pipeline.stages.gate import prediction_file
from edgetl.pipeline.transfer import SHOWN_COVERAGES, SHOWN_THRESHOLDS, write_transfer

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


def _answers(seed: int, n: int, **variants: float) -> dict[str, Predictions]:
    """The reference's answers, and those of variants that differ by so much noise."""
    random = np.random.default_rng(seed)
    logits = random.normal(0.0, 2.5, (n, 4))
    labels = (softmax(logits).cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    rows = {"reference": logits} | {
        name: logits + random.normal(0.0, noise, logits.shape) for name, noise in variants.items()
    }
    return {
        name: Predictions(
            labels=np.minimum(labels, 3),
            probabilities=softmax(row),
            ids=[f"{seed}-{at}" for at in range(n)],
            classes=["a", "b", "c", "d"],
        )
        for name, row in rows.items()
    }


@pytest.fixture
def calib() -> dict[str, Predictions]:
    return _answers(0, 300, equal=0.0, noisy=1.0)


@pytest.fixture
def test() -> dict[str, Predictions]:
    return _answers(1, 500, equal=0.0, noisy=1.0)


@pytest.fixture
def written(calib: Any, test: Any, tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    write_transfer(tmp_path, calib=calib, test=test)
    thresholds, conformal = (
        json.loads((tmp_path / f"{name}.json").read_bytes()) for name in ("thresholds", "conformal")
    )
    return thresholds, conformal


def test_both_files_are_what_their_schema_says(written: Any) -> None:
    for name, document in zip(("thresholds", "conformal"), written, strict=True):
        schema = json.loads((SCHEMAS / f"{name}-1.json").read_bytes())
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(document, schema)
        assert document["schema"] == f"edgetl.{name}/1"
        assert set(document["variants"]) == {"equal", "noisy"}


def test_a_bundle_may_hold_what_was_written(written: Any) -> None:
    thresholds, conformal = written
    for name in ("equal", "noisy"):
        table = read_thresholds(Node(thresholds["variants"][name], name))
        assert (table.n, len(table.reference)) == (300, 50)
        quantiles = read_conformal(Node(conformal["variants"][name], name))
        assert (quantiles.n, quantiles.coverage) == (300, COVERAGES)


def test_an_equal_variant_acts_as_the_reference_does(written: Any) -> None:
    thresholds, conformal = written
    figures = thresholds["variants"]["equal"]["on_test"]
    assert figures["n"] == 500
    shown = tuple(point["reference"]["threshold"] for point in figures["points"])
    assert shown == SHOWN_THRESHOLDS
    for point in figures["points"]:
        for keep in ("same_number", "acceptance", "precision"):
            assert point[keep]["accepted"] == point["reference"]["accepted"]
            assert point[keep]["precision"] == point["reference"]["precision"]
    for one in conformal["variants"]["equal"]["on_test"]["sets"]:
        if one["measured"] is not None:
            assert one["difference"]["estimate"] == 0
            assert one["difference"]["low"] < 0 < one["difference"]["high"]


def test_figures_are_those_of_the_test_split(written: Any, calib: Any, test: Any) -> None:
    thresholds, conformal = written
    noisy, labels = test["noisy"].probabilities, test["noisy"].labels
    table = thresholds["variants"]["noisy"]
    point = table["on_test"]["points"][3]
    own = table["acceptance"]["threshold"][table["reference"].index(0.8)]
    accepted = noisy.max(axis=1) >= own
    assert point["acceptance"]["threshold"] == own
    assert point["acceptance"]["accepted"] == accepted.sum()
    right = (noisy.argmax(axis=1) == labels)[accepted].mean()
    assert point["acceptance"]["precision"] == pytest.approx(right)
    assert point["acceptance"]["precision_low"] < right < point["acceptance"]["precision_high"]
    sets = {
        (one["method"], one["coverage"]): one
        for one in conformal["variants"]["noisy"]["on_test"]["sets"]
    }
    assert set(sets) == {(method, one) for method in ("lac", "aps") for one in SHOWN_COVERAGES}
    fit = fit_conformal(calib["noisy"].probabilities, calib["noisy"].labels)
    inside = label_sets(noisy, fit.aps[COVERAGES.index(0.9)], "aps")
    one = sets["aps", 0.9]
    assert one["measured"] == pytest.approx(inside[np.arange(500), labels].mean())
    assert one["mean_size"] == pytest.approx(inside.sum(axis=1).mean())
    assert one["low"] < one["measured"] < one["high"]
    assert one["empty"] == 0
    assert one["expected_low"] < 0.9 < one["expected_high"]


def test_what_calib_is_too_small_for_is_null(tmp_path: Path) -> None:
    write_transfer(tmp_path, calib=_answers(0, 30, v=0.5), test=_answers(1, 100, v=0.5))
    document = json.loads((tmp_path / "conformal.json").read_bytes())
    jsonschema.validate(document, json.loads((SCHEMAS / "conformal-1.json").read_bytes()))
    few = document["variants"]["v"]["on_test"]["sets"][3]
    assert (few["coverage"], few["measured"], few["difference"]) == (0.99, None, None)


def test_the_same_predictions_give_the_same_bytes(calib: Any, test: Any, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_transfer(tmp_path / name, calib=calib, test=test)
    for file in ("thresholds.json", "conformal.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_what_does_not_fit_together_is_refused(calib: Any, test: Any, tmp_path: Path) -> None:
    def refused(calib: Any, test: Any, said: str) -> None:
        with pytest.raises(GateError, match=said):
            write_transfer(tmp_path, calib=calib, test=test)
        assert not list(tmp_path.iterdir())

    refused({}, {}, "reference")
    refused({"noisy": calib["noisy"]}, {"noisy": test["noisy"]}, "reference")
    refused(calib, {"reference": test["reference"]}, "same variants")
    refused(calib, test | {"noisy": calib["noisy"]}, "noisy on test")
    bare = Predictions(probabilities=calib["noisy"].probabilities)
    refused({"reference": bare}, {"reference": bare}, "labels")


def test_a_release_ships_both_tables_with_every_variant(tiny_release: Any) -> None:
    gate = tiny_release.folder / "gate"
    reference = Predictions.load(gate / prediction_file("calib", "reference"))
    manifest = open_bundle(tiny_release.result.bundle).manifest
    for entry in manifest.variants:
        own = Predictions.load(gate / prediction_file("calib", entry.variant.id))
        assert entry.thresholds is not None and entry.conformal is not None
        assert entry.thresholds.n == entry.conformal.n == own.n == 200
        at = entry.thresholds.reference.index(0.8)
        kept = reference.probabilities.max(axis=1) >= 0.8
        threshold = entry.thresholds.acceptance.threshold[at]
        assert threshold is not None
        accepted = own.probabilities.max(axis=1) >= threshold
        assert abs(int(accepted.sum()) - int(kept.sum())) <= 1
        assert entry.conformal.lac == fit_conformal(own.probabilities, own.labels).lac
