"""Threshold and conformal tables made to mislead: each is refused at its place, with a reason."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from edgetl.bundle.fields import Node
from edgetl.bundle.manifest_reader import parse_manifest
from edgetl.bundle.tables import read_conformal, read_thresholds
from edgetl.errors import BundleError

HUGE = [0.5] * 100_000


def _document() -> dict[str, Any]:
    """A manifest whose one variant has both tables."""
    columns = {"threshold": [0.6, 0.8], "low": [0.5, 0.7], "high": [0.7, 1.0]}
    return {
        "schema": "edgetl.bundle/1",
        "name": "b",
        "version": "1",
        "created_by": "somebody",
        "classes": ["a", "b"],
        "input": {"kind": "tensor", "shape": [2]},
        "reference": {},
        "variants": [
            {
                "id": "v",
                "backend": "onnxruntime",
                "precision": "fp32",
                "files": ["models/net.onnx"],
                "settings": {},
                "verdict": "PASS",
                "temperature": 1.0,
                "p50_ms": None,
                "execution": {},
                "thresholds": {
                    "n": 500,
                    "confidence": 0.95,
                    "reference": [0.5, 0.75],
                    "acceptance": columns,
                    "precision": {
                        "threshold": [0.6, None],
                        "low": [0.0, None],
                        "high": [1.0, None],
                    },
                },
                "conformal": {
                    "n": 50,
                    "coverage": [0.8, 0.9, 0.99],
                    "lac": [0.25, 0.5, None],
                    "aps": [0.0, 0.75, None],
                },
            }
        ],
        "golden": {"kind": "none", "inputs": [], "answers": None, "tolerance": {}},
        "files": {"models/net.onnx": {"size": 0, "sha256": "0" * 64}},
    }


def _changed(place: str, value: object) -> dict[str, Any]:
    document = copy.deepcopy(_document())
    *parents, last = place.split("/")
    node: Any = document["variants"][0]
    for key in parents:
        node = node[key]
    if value is ABSENT:
        del node[last]
    else:
        node[last] = value
    return document


def _parse(document: object) -> Any:
    return parse_manifest(json.dumps(document).encode())


ABSENT = object()
WRONG: list[tuple[str, object]] = [
    *((table, value) for table in ("thresholds", "conformal") for value in (None, [], {}, 1, "x")),
    ("thresholds/n", 0),
    ("thresholds/n", -1),
    ("thresholds/n", 500.0),
    ("thresholds/n", True),
    ("thresholds/confidence", 0),
    ("thresholds/confidence", 1),
    ("thresholds/confidence", 95),
    ("thresholds/confidence", None),
    ("thresholds/reference", ABSENT),
    ("thresholds/reference", []),
    ("thresholds/reference", [0.5]),
    ("thresholds/reference", [0.5, 0.6, 0.7]),
    ("thresholds/reference", [0.75, 0.5]),
    ("thresholds/reference", [0.5, 0.5]),
    ("thresholds/reference", [0.0, 0.5]),
    ("thresholds/reference", [0.5, 1.0]),
    ("thresholds/reference", [0.5, 1.5]),
    ("thresholds/reference", [0.5, None]),
    ("thresholds/reference", ["0.5", 0.75]),
    ("thresholds/reference", [True, 0.75]),
    ("thresholds/reference", HUGE),
    ("thresholds/reference", [at / 100 for at in range(1, 62)]),
    ("thresholds/acceptance", ABSENT),
    ("thresholds/acceptance", []),
    ("thresholds/acceptance/low", ABSENT),
    ("thresholds/acceptance/threshold", [0.6]),
    ("thresholds/acceptance/threshold", [0.6, 0.8, 0.9]),
    ("thresholds/acceptance/threshold", HUGE),
    ("thresholds/acceptance/threshold", [0.6, None]),
    ("thresholds/acceptance/threshold", [0.8, 0.7]),
    ("thresholds/acceptance/threshold", [0.6, 1.1]),
    ("thresholds/acceptance/threshold", [-0.1, 0.8]),
    ("thresholds/acceptance/threshold", [0.4, 0.8]),
    ("thresholds/acceptance/threshold", ["a", 0.8]),
    ("thresholds/acceptance/threshold", [[0.6], 0.8]),
    ("thresholds/acceptance/threshold", 0.6),
    ("thresholds/acceptance/low", [0.7, 0.5]),
    ("thresholds/acceptance/low", [0.65, 0.7]),
    ("thresholds/acceptance/high", [0.7, 0.75]),
    ("thresholds/acceptance", {"threshold": [None] * 2, "low": [None] * 2, "high": [None] * 2}),
    ("thresholds/precision/low", [0.0, 0.5]),
    ("thresholds/precision/threshold", [None, None]),
    ("conformal/n", 0),
    ("conformal/n", 50.5),
    ("conformal/n", ABSENT),
    ("conformal/coverage", []),
    ("conformal/coverage", [0.9, 0.8, 0.99]),
    ("conformal/coverage", [0.8, 0.8, 0.99]),
    ("conformal/coverage", [0.8, 0.9, 1.0]),
    ("conformal/coverage", [0.8, 0.9005, 0.99]),
    ("conformal/coverage", [0.8, 0.9]),
    ("conformal/coverage", HUGE),
    ("conformal/lac", [0.5, 0.25, None]),
    ("conformal/lac", [0.25, 0.5, 0.75]),
    ("conformal/lac", [0.25, None, None]),
    ("conformal/lac", [None, 0.5, None]),
    ("conformal/lac", [0.25, 1.0009, None]),
    ("conformal/lac", [-0.25, 0.5, None]),
    ("conformal/lac", [0.25, 0.5]),
    ("conformal/lac", HUGE),
    ("conformal/lac", {"0.8": 0.25}),
    ("conformal/aps", [0.0, 1.1, None]),
    ("conformal/aps", [0.0, True, None]),
    ("conformal/aps", ABSENT),
]


def test_the_document_itself_is_right() -> None:
    (variant,) = _parse(_document()).variants
    assert variant.thresholds.precision.threshold == (0.6, None)
    assert variant.conformal.lac == (0.25, 0.5, None)


@pytest.mark.parametrize(("place", "value"), WRONG)
def test_a_wrong_table_is_refused_at_its_place(place: str, value: object) -> None:
    with pytest.raises(BundleError) as caught:
        _parse(_changed(place, value))
    assert f"variants[0].{place.split('/')[0]}" in caught.value.subject
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400])
@pytest.mark.parametrize(
    "place", ["thresholds/confidence", "thresholds/reference", "conformal/lac", "conformal/n"]
)
def test_no_number_is_above_every_number(place: str, number: str) -> None:
    value: object = "HERE" if place.endswith(("confidence", "n")) else ["HERE", 0.75]
    text = json.dumps(_changed(place, value)).replace('"HERE"', number)
    with pytest.raises(BundleError):
        parse_manifest(text.encode())


def test_a_later_versions_further_keys_are_ignored() -> None:
    document = _document()
    document["variants"][0]["thresholds"]["per_class"] = {"a": [1]}
    document["variants"][0]["thresholds"]["acceptance"]["median"] = None
    document["variants"][0]["conformal"]["raps"] = [0.1, 0.2, 0.3]
    assert _parse(document) == _parse(_document())


def test_a_table_alone_is_read_or_refused_by_its_name() -> None:
    variant = _document()["variants"][0]
    assert read_thresholds(Node(variant["thresholds"], "thresholds.json")).n == 500
    assert read_conformal(Node(variant["conformal"], "conformal.json")).n == 50
    with pytest.raises(BundleError, match=r"conformal\.json"):
        read_conformal(Node(variant["thresholds"], "conformal.json"))
