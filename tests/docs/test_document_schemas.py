"""Real documents that no other test holds to it are what docs/schemas/ says."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from edgetl.data.card import dataset_card
from edgetl.data.store import SplitPart
from edgetl.doctor.checks import Check
from edgetl.doctor.examine import report
from edgetl.doctor.machine import read_machine
from edgetl.doctor.packages import Installed, installed_packages
from edgetl.pipeline.forgetting import Forgetting
from edgetl.pipeline.release import plan_release
from edgetl.pipeline.suspicious import suspicious_document
from edgetl.train.wrong_labels import look_for_wrong_labels
from tests.data.helpers.pictures import encoded, make_folder, pixels

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
OPTIONAL = {"file"}
NAMES = ("doctor", "plan", "dataset-card", "forgetting", "suspicious")
FORGOTTEN = Forgetting(
    old_classes=("cat",),
    new_classes=("dog",),
    old_images=50,
    new_images=20,
    before=0.9,
    after=0.6,
    after_old_classes=0.8,
    low=0.2,
    high=0.4,
    new_top1=0.75,
)
WORKS = Check(backend="openvino", device="CPU", outcome="works", expected=True, version="1")


def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((SCHEMAS / f"{name}-1.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["title"] == f"edgetl.{name}/1"
    return jsonschema.Draft202012Validator(schema)


def hold(name: str, document: dict[str, Any]) -> dict[str, Any]:
    """The document as it is read back from a file, which fits its schema."""
    read = json.loads(json.dumps(document, allow_nan=False))
    validator(name).validate(read)
    return read


@pytest.fixture(scope="module")
def documents(
    tmp_path_factory: pytest.TempPathFactory, tiny_config: Path
) -> dict[str, dict[str, Any]]:
    tmp_path = tmp_path_factory.mktemp("documents")
    make_folder(tmp_path / "pets", {"cat": 2, "dog": 1})
    (tmp_path / "pets" / "cat" / "bad.png").write_bytes(b"")
    (tmp_path / "pets" / "dog" / "copy.png").write_bytes(encoded(pixels(0)))
    failed = dataclasses.replace(WORKS, outcome="failed", note="SIGSEGV", fix="mend it")
    return {
        "doctor": report(installed_packages(), read_machine(), [WORKS, failed]).to_json(),
        "plan": plan_release(tiny_config, out=tmp_path / "run").to_json(),
        "dataset-card": dataset_card(f"folder:{tmp_path / 'pets'}").to_json(),
        "forgetting": FORGOTTEN.to_json(),
        "suspicious": suspicious(),
    }


def suspicious() -> dict[str, Any]:
    """Twenty points in two heaps; one of them is labelled as the other heap."""
    features = np.repeat([[0.0, 1.0], [1.0, 0.0]], 10, axis=0).astype(np.float32)
    features += np.random.default_rng(0).normal(0, 0.05, features.shape).astype(np.float32)
    heaps = np.repeat([0, 1], 10)
    labels = heaps.copy()
    labels[3] = 1
    part = SplitPart(ids=tuple("abcdefghijklmnopqrst"), labels=labels, images=features)
    evidence = look_for_wrong_labels(features, labels, heaps)
    document = suspicious_document(part, evidence, heaps, ("cat", "dog"), {3: "dog/3.png"})
    assert [image["file"] for image in document["images"]] == ["dog/3.png"]
    return document


@pytest.mark.parametrize("name", NAMES)
def test_a_document_fits_its_schema(documents: dict[str, Any], name: str) -> None:
    hold(name, documents[name])


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of a document whose keys are fixed."""
    if isinstance(value, dict):
        yield value
        for key, inner in value.items():
            if key not in ("splits", "sizes"):
                yield from objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner)


@pytest.mark.parametrize("name", NAMES)
def test_a_key_too_few_or_too_many_does_not_fit(documents: dict[str, Any], name: str) -> None:
    check = validator(name)
    document = hold(name, documents[name])
    for at, found in enumerate(objects(document)):
        for key in set(found) - OPTIONAL:
            changed = copy.deepcopy(document)
            del list(objects(changed))[at][key]
            assert not check.is_valid(changed), key
        changed = copy.deepcopy(document)
        list(objects(changed))[at]["another"] = 1
        assert not check.is_valid(changed), sorted(found)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("doctor", {"ok": True}),
        ("doctor", {"findings": []}),
        ("doctor", {"schema": "edgetl.doctor/2"}),
        ("plan", {"ready": False}),
        ("plan", {"seconds": -1}),
        ("plan", {"stages": []}),
        ("dataset-card", {"samples": 2.5}),
        ("dataset-card", {"sizes": {"min": [1, 1]}}),
        ("dataset-card", {"grey_share": 1.5}),
    ],
)
def test_what_no_document_says_does_not_fit(
    documents: dict[str, Any], name: str, changes: dict[str, Any]
) -> None:
    assert not validator(name).is_valid(hold(name, documents[name]) | changes)


def test_a_machine_of_which_little_can_be_read_fits(tmp_path: Path) -> None:
    read = hold("doctor", report([], read_machine(tmp_path), []).to_json())
    assert read["machine"]["features"] is None and read["packages"] == []
    machine = dataclasses.replace(
        read_machine(), quota=0.5, governor="powersave", memory_limit_mb=9
    )
    rivals = [Installed(name=name, version="1") for name in ("onnxruntime", "onnxruntime-gpu")]
    assert not hold("doctor", report(rivals, machine, [WORKS]).to_json())["ok"]


def test_cards_of_other_kinds_fit(tmp_path: Path) -> None:
    tensors = np.random.default_rng(0).normal(size=(4, 7)).astype(np.float32)
    labels = np.array([0, 1, 0, 1])
    np.savez(tmp_path / "one.npz", x=tensors, labels=labels)
    card = hold("dataset-card", dataset_card(f"npz:{tmp_path / 'one.npz'}").to_json())
    assert card["kind"] == "tensors" and card["sizes"]["max"] == [7]
    np.savez(tmp_path / "two.npz", x=tensors, y=tensors, labels=labels)
    card = hold("dataset-card", dataset_card(f"npz:{tmp_path / 'two.npz'}").to_json())
    assert card["kind"] == "several inputs"
    (tmp_path / "nothing").mkdir()
    assert hold("dataset-card", dataset_card(f"folder:{tmp_path / 'nothing'}").to_json())["refusal"]
