"""What a bundle says about itself: values, and their one way into JSON.

`manifest_reader.py` is the way back; docs/bundle-format.md is the specification of both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from edgetl.bundle.tables import ConformalTable, ThresholdTable, table_to_json
from edgetl.files import canonical_json
from edgetl.input_json import input_to_json
from edgetl.spec import ClassifierInput, Setting, Variant

SCHEMA = "edgetl.bundle/1"
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
# Numbers only, so that versions have one order and each version one spelling.
VERSION = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.(?:0|[1-9][0-9]{0,8})){0,3}")

VerdictName = Literal["PASS", "FAIL", "INCONCLUSIVE", "NOT JUDGED"]
GoldenKind = Literal["real", "synthetic", "none"]


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """A listed file: its size in bytes and the SHA-256 of its content, 64 lower-case digits."""

    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ManifestVariant:
    """A variant with what the release found out about it.

    Attributes:
        variant: What the backend loads.
        verdict: The gate's word on it.
        temperature: What the raw logits were divided by; folded into the model already.
        p50_ms: Median latency in milliseconds at the policy's batch and threads, on the machine
            of the release; None when it was not measured.
        execution: What was really executed (device, threads, layer precisions), as plain data.
        thresholds: Which of its thresholds do what the reference's do; None when nobody compared.
        conformal: Quantiles for sets of labels; None when none were fitted.
    """

    variant: Variant
    verdict: VerdictName = "NOT JUDGED"
    temperature: float = 1.0
    p50_ms: float | None = None
    execution: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    thresholds: ThresholdTable | None = None
    conformal: ConformalTable | None = None


@dataclass(frozen=True, kw_only=True)
class GoldenFiles:
    """Where the golden set lies in the bundle.

    Attributes:
        kind: Real inputs, synthetic ones (for private data), or none.
        inputs: PNG files in order, or one ``.npy`` file for a tensor input.
        answers: The ``.npz`` file of probabilities; None when there is no golden set.
        tolerance: Per variant id, the largest difference of a probability that `selftest` allows.
    """

    kind: GoldenKind = "none"
    inputs: tuple[str, ...] = ()
    answers: str | None = None
    tolerance: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything that `manifest.json` says. Plain data: it never names code.

    Attributes:
        name: Letters, digits, ``.``, ``_`` and ``-``.
        version: One to four numbers with dots, such as ``1.0.0``.
        classes: The labels, in the order of the probabilities.
        input: What the graph takes.
        variants: At least one.
        reference: Figures of the PyTorch reference, such as ``top1``.
        golden: The golden set's files.
        files: Every file but the manifest and its digest, by path.
        created_by: The edgetl that wrote the bundle.
    """

    name: str
    version: str
    classes: tuple[str, ...]
    input: ClassifierInput
    variants: tuple[ManifestVariant, ...]
    reference: Mapping[str, Setting]
    golden: GoldenFiles
    files: Mapping[str, FileEntry]
    created_by: str

    @property
    def folder_name(self) -> str:
        """The name of the bundle's folder: ``NAME-VERSION.edgetl``."""
        return f"{self.name}-{self.version}.edgetl"


def manifest_to_json(manifest: Manifest) -> dict[str, Any]:
    """The manifest as plain data."""
    return {
        "schema": SCHEMA,
        "name": manifest.name,
        "version": manifest.version,
        "created_by": manifest.created_by,
        "classes": list(manifest.classes),
        "input": input_to_json(manifest.input),
        "reference": dict(manifest.reference),
        "variants": [_variant_to_json(variant) for variant in manifest.variants],
        "golden": {
            "kind": manifest.golden.kind,
            "inputs": list(manifest.golden.inputs),
            "answers": manifest.golden.answers,
            "tolerance": dict(manifest.golden.tolerance),
        },
        "files": {
            path: {"size": entry.size, "sha256": entry.sha256}
            for path, entry in manifest.files.items()
        },
    }


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes of `manifest.json`: the same manifest always gives the same bytes."""
    return canonical_json(manifest_to_json(manifest))


def _variant_to_json(entry: ManifestVariant) -> dict[str, Any]:
    tables = {"thresholds": entry.thresholds, "conformal": entry.conformal}
    return {
        # A key that is optional is left out: a bundle without tables keeps its bytes.
        **{key: table_to_json(table) for key, table in tables.items() if table is not None},
        "id": entry.variant.id,
        "backend": entry.variant.backend,
        "precision": str(entry.variant.precision),
        "files": list(entry.variant.files),
        "settings": dict(entry.variant.settings),
        "verdict": entry.verdict,
        "temperature": entry.temperature,
        "p50_ms": entry.p50_ms,
        "execution": dict(entry.execution),
    }
