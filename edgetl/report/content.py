"""What a report is made from: plain values, all optional but the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import GateError
from edgetl.gate.predictions import Predictions
from edgetl.report.documents import (
    CONFORMAL,
    SUSPICIOUS,
    THRESHOLDS,
    TRANSFER_CHECK,
    WATERFALL,
    Table,
    check_schema,
)

REFERENCE = "reference"
"""The key of the reference among predictions, samples and rows."""

CANDIDATE = "candidate"
CONTROL = "control"
"""The reference measured against itself, among the samples."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Flip:
    """One input that the reference and a variant answer differently.

    Attributes:
        index: Its row in the split.
        content_id: Its content hash.
        label: Its true class.
        reference_class, candidate_class: What the two answered.
        reference_probability, candidate_probability: What each gave its own answer, 0..1.
        variant: The variant's id.
        picture: A PNG, JPEG, WEBP or BMP, or None when the input is no picture.
        reference_map, variant_map: Occlusion maps float32 [h, w] of each one's own answer.
        negative: The reference was right and the variant is not.
    """

    index: int
    content_id: str
    label: str
    reference_class: str
    candidate_class: str
    reference_probability: float
    candidate_probability: float
    variant: str
    negative: bool
    picture: bytes | None = None
    reference_map: NDArray[np.float32] | None = None
    variant_map: NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportData:
    """Everything that a report may show; what is absent is left out of it, and listed as such.

    Attributes:
        verdict: The document ``edgetl.verdict/1``.
        name, version: Of the classifier.
        bench: The document ``edgetl.bench/1``.
        samples: Side -> float64 [rounds, calls], seconds; rows of all sides are paired.
        predictions: Split -> ``reference`` or a variant's id -> its answers.
        history: ``history.json``, or its list of epochs.
        calibration, refit, execution, selection: The JSON files of those names.
        rows: The closing table, `edgetl.pipeline.summary.Row` as dicts, the reference first.
        flips: The inputs answered differently, in any order.
        machine: Facts of the machine; those of `bench` when None.
        config: The release's config with every default written in.
        hashes: What -> SHA-256, such as ``test split`` or a model's file.
        openings: The openings of the test split, oldest first.
        waterfalls: Documents ``edgetl.waterfall/1``: where each variant's difference arises.
        thresholds: The document ``edgetl.thresholds/1``: each variant's transferred thresholds.
        conformal: The document ``edgetl.conformal/1``: each side's coverage of conformal sets.
        transfer_check: The document ``edgetl.transfer-check/1``: what other starts reach.
        suspicious: The document ``edgetl.suspicious/1``: training labels that look wrong.
        suspicious_pictures: Position in the train split -> a PNG of it.

    Raises:
        GateError: When one of these documents is not of its schema.
    """

    verdict: Table
    name: str = ""
    version: str = ""
    bench: Table | None = None
    samples: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    predictions: Mapping[str, Mapping[str, Predictions]] = field(default_factory=dict)
    history: Table | Sequence[Table] | None = None
    calibration: Table | None = None
    refit: Table | None = None
    execution: Table | None = None
    selection: Table | None = None
    rows: Sequence[Table] = ()
    flips: tuple[Flip, ...] = ()
    machine: Table | None = None
    config: Table | None = None
    hashes: Table | None = None
    openings: Sequence[Table] | None = None
    waterfalls: Sequence[Table] = ()
    thresholds: Table | None = None
    conformal: Table | None = None
    transfer_check: Table | None = None
    suspicious: Table | None = None
    suspicious_pictures: Mapping[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = {"verdict", "policy", "data", "variants"} - set(self.verdict)
        if missing:
            raise GateError(
                "report: verdict",
                got="a document without " + ", ".join(sorted(missing)),
                expected="edgetl.verdict/1",
                fix="pass the parsed verdict.json of a release or of `edgetl gate`",
            )
        for document, schema in (
            *((one, WATERFALL) for one in self.waterfalls),
            (self.thresholds, THRESHOLDS),
            (self.conformal, CONFORMAL),
            (self.transfer_check, TRANSFER_CHECK),
            (self.suspicious, SUSPICIOUS),
        ):
            if document is not None:
                check_schema(document, schema)


def report_from_predictions(
    reference: Predictions,
    candidate: Predictions,
    verdict: Table,
    *,
    name: str = "",
    version: str = "",
) -> ReportData:
    """A report from stored predictions alone, as `edgetl gate --predictions` judges them.

    Args:
        reference, candidate: On the same inputs, in the same order.
        verdict: The document ``edgetl.verdict/1`` of the two, with one variant.
        name, version: Of the classifier, if it has any; else the two sides are the title.

    Raises:
        GateError: When the verdict is not one of a single variant.

    Example:
        >>> answers = Predictions(labels=[0, 1], probabilities=[[0.9, 0.1], [0.2, 0.8]])
        >>> data = report_from_predictions(answers, answers, {
        ...     "verdict": "PASS", "policy": {}, "data": {"split": "test"},
        ...     "variants": [{"id": "int8"}],
        ... })
        >>> sorted(data.predictions["test"])
        ['int8', 'reference']
    """
    variants = verdict.get("variants", [])
    if len(variants) != 1:
        raise GateError(
            "report: verdict",
            got=f"{len(variants)} variants",
            expected="the one variant that the candidate's predictions are of",
            fix="pass the verdict of these two predictions",
        )
    split = str(verdict.get("data", {}).get("split", "test"))
    variant = str(variants[0].get("id", CANDIDATE))
    sides = {REFERENCE: reference, variant: candidate}
    if not name:
        file = verdict.get("data", {}).get("predictions", {}).get(REFERENCE, REFERENCE)
        name = f"{variant} against {PurePath(str(file)).stem}"
    return ReportData(verdict=verdict, name=name, version=version, predictions={split: sides})
