from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from edgetl.bundle import (
    BundleContent,
    ConformalTable,
    ThresholdColumns,
    ThresholdTable,
    open_bundle,
    write_bundle,
)
from edgetl.bundle.manifest import encode_manifest
from edgetl.bundle.manifest_reader import parse_manifest
from edgetl.calibration.conformal import fit_conformal
from edgetl.calibration.thresholds import transfer_thresholds

COLUMNS = ThresholdColumns(threshold=(0.6, 0.8), low=(0.5, 0.7), high=(0.7, 1.0))
THRESHOLDS = ThresholdTable(
    n=500,
    confidence=0.95,
    reference=(0.5, 0.75),
    acceptance=COLUMNS,
    precision=ThresholdColumns(threshold=(0.6, None), low=(0.0, None), high=(1.0, None)),
)
CONFORMAL = ConformalTable(
    n=50, coverage=(0.8, 0.9, 0.99), lac=(0.25, 0.5, None), aps=(0.0, 0.75, None)
)


def test_tables_are_read_as_they_were_written(content: BundleContent, tmp_path: Path) -> None:
    first, *others = content.variants
    told = dataclasses.replace(first, thresholds=THRESHOLDS, conformal=CONFORMAL)
    path = write_bundle(tmp_path, dataclasses.replace(content, variants=(told, *others)))
    read = open_bundle(path).manifest
    assert read.variants[0].thresholds == THRESHOLDS
    assert read.variants[0].conformal == CONFORMAL
    assert read.variants[1].thresholds is None and read.variants[1].conformal is None
    data = (path / "manifest.json").read_bytes()
    assert encode_manifest(read) == data


def test_a_variant_without_tables_has_no_such_keys(folder: Path) -> None:
    document = json.loads((folder / "manifest.json").read_bytes())
    for variant in document["variants"]:
        assert not {"thresholds", "conformal"} & variant.keys()
    assert parse_manifest(json.dumps(document).encode()).variants[0].thresholds is None


def test_full_tables_are_small(content: BundleContent, folder: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    p = random.dirichlet(np.ones(10) / 5, size=900)
    labels = (p.cumsum(axis=1) < random.random((900, 1))).sum(axis=1)
    table = transfer_thresholds(p, p**1.1 / (p**1.1).sum(axis=1, keepdims=True), labels)
    thresholds = ThresholdTable(
        n=table.n,
        confidence=table.confidence,
        reference=table.reference,
        acceptance=ThresholdColumns(**dataclasses.asdict(table.acceptance)),
        precision=ThresholdColumns(**dataclasses.asdict(table.precision)),
    )
    conformal = ConformalTable(**fit_conformal(p, labels).to_json())
    first, *others = content.variants
    told = dataclasses.replace(first, thresholds=thresholds, conformal=conformal)
    path = write_bundle(tmp_path, dataclasses.replace(content, variants=(told, *others)))
    sizes = [(one / "manifest.json").stat().st_size for one in (path, folder)]
    assert sizes[0] - sizes[1] < 20_000
