from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest

from edgetl.files import canonical_json
from edgetl.gate import Policy, Predictions
from edgetl.gate.certificate import certify
from edgetl.gate.certificate_render import (
    CertificateDocument,
    CertifiedVariant,
    certificate_json,
    certificate_junit,
    certificate_markdown,
)

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "certificate-1.json"


@pytest.fixture
def document():
    ids = [f"{index:064x}" for index in range(500)]
    reference = np.tile([0.7, 0.2, 0.1], (500, 1))
    flipped = reference.copy()
    flipped[:40] = [0.2, 0.7, 0.1]
    ours = Predictions(probabilities=reference, ids=ids)
    variants = []
    for name, other in (("good", reference), ("bad|<b>\x07\n# x", flipped)):
        theirs = Predictions(probabilities=other, ids=ids)
        variants.append(
            CertifiedVariant(
                id=name,
                backend="stored",
                precision="int8",
                file="a.onnx",
                certificate=certify(ours, theirs, Policy(max_confidence_gap=0.2)),
            )
        )
    return CertificateDocument(
        policy=Policy(),
        reference="pets <1>",
        data="unlabelled:photos",
        data_hash=ours.data_hash(),
        variants=tuple(variants),
    )


def test_json_keeps_to_its_schema(document):
    value = json.loads(canonical_json(certificate_json(document)))
    schema = json.loads(SCHEMA.read_text())
    jsonschema.validate(value, schema)
    assert value["verdict"] == "FAIL"
    assert [variant["verdict"] for variant in value["variants"]] == ["PASS", "FAIL"]
    value["variants"][0]["gates"][0]["name"] = "nll"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, schema)


def test_the_worst_variant_decides(document):
    good, _ = document.variants
    assert document.exit_code == 1
    assert replace(document, variants=(good,)).exit_code == 0
    unsure = replace(good, certificate=replace(good.certificate, verdict="INCONCLUSIVE"))
    assert replace(document, variants=(good, unsure)).exit_code == 4


def test_junit_has_a_case_per_gate_and_skips_what_needs_labels(document):
    root = ElementTree.fromstring(certificate_junit(document))
    good, bad = root
    assert [suite.get("tests") for suite in root] == ["6", "6"]
    assert len(good.findall("testcase")) == 6 and good.get("failures") == "0"
    assert len(bad.findall(".//failure")) == int(bad.get("failures")) == 1
    assert len(bad.findall(".//error")) == int(bad.get("errors"))
    assert len(bad.findall(".//skipped")) == int(bad.get("skipped")) == 3
    assert "\x07" not in bad.get("name")


def test_limits_that_nothing_certifies_are_listed(document):
    policy = Policy(max_p50_ratio=0.9, max_slice_drop=0.1)
    listed = certificate_json(replace(document, policy=policy))["not_judged"]
    assert listed == ["nll", "brier", "log_temperature_ratio", "slices", "latency"]
    assert "slices, latency." in certificate_markdown(replace(document, policy=policy))


def test_markdown_says_what_was_not_judged_and_keeps_names_as_text(document):
    text = certificate_markdown(document)
    assert text.startswith("# FAIL (without labels)")
    assert "nll, brier, log_temperature_ratio" in text
    assert "<b>" not in text and "\n# x" not in text
    assert "40 of 500 answers differ" in text
    assert "flips: at least 0.0" in text
