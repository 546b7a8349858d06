"""Does this device answer as the bundle says it should?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle import Bundle, GoldenSet, ManifestVariant, open_bundle
from edgetl.errors import EdgetlError, UnavailableError
from edgetl.runtime.answers import Source, answers
from edgetl.runtime.classifier import Classifier
from edgetl.runtime.selection import missing_backends, variants_of
from edgetl.spec import (
    Array,
    ClassifierInput,
    SeveralInputs,
    SingleInput,
    TensorInput,
    named_parts,
)

Outcome = Literal["ok", "not ok", "not checked", "not here"]

_SYNTHETIC_INPUTS = 2


@dataclass(frozen=True, kw_only=True)
class VariantCheck:
    """One variant on this device.

    Attributes:
        variant: Its id.
        backend: Its backend.
        outcome: ``"ok"`` or ``"not ok"`` against its own golden answers; ``"not checked"`` when
            the bundle has none and all that is known is that it loads and answers
            probabilities; ``"not here"`` when its backend is not installed.
        max_difference: Largest |Δp| from its own golden answers.
        tolerance: The largest that the manifest allows.
        top1_agreement: Share of golden inputs with the same top class as in its own answers.
        reference_agreement: The same, compared with the reference's answers.
        note: What went wrong, or what was checked instead.
    """

    variant: str
    backend: str
    outcome: Outcome
    max_difference: float | None = None
    tolerance: float | None = None
    top1_agreement: float | None = None
    reference_agreement: float | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class SelftestReport:
    """What `selftest` found.

    Attributes:
        bundle: The bundle's name.
        golden: ``"real"``, ``"synthetic"`` or ``"none"``.
        inputs: How many golden inputs there are.
        variants: One check for each variant that was asked for.
    """

    bundle: str
    golden: str
    inputs: int
    variants: tuple[VariantCheck, ...]

    @property
    def outcome(self) -> Outcome:
        """Of the whole: not ok when any variant is not; otherwise ok when any was compared."""
        found = {check.outcome for check in self.variants}
        order: tuple[Outcome, ...] = ("not ok", "ok", "not checked")
        return next((outcome for outcome in order if outcome in found), "not here")

    @property
    def ok(self) -> bool:
        """Whether nothing was found wrong. Not a pass: see `outcome` for "not checked"."""
        return self.outcome != "not ok"

    @property
    def exit_code(self) -> int:
        """1 when this bundle does not work on this device, else 0."""
        return 0 if self.ok else 1

    def to_json(self) -> dict[str, Any]:
        """The report as plain data, schema ``edgetl.selftest/1``."""
        return {
            "schema": "edgetl.selftest/1",
            "bundle": self.bundle,
            "golden": self.golden,
            "inputs": self.inputs,
            "outcome": self.outcome,
            "variants": [asdict(check) for check in self.variants],
        }

    def lines(self) -> list[str]:
        """The report for a reader, one line for each variant and one for the whole."""
        lines = [_line(check) for check in self.variants]
        if self.golden == "none":
            about = "the bundle has no golden answers: loaded and run, not compared"
        else:
            about = f"compared with the answers to {self.inputs} {self.golden} inputs"
        return [*lines, f"{self.bundle}: {self.outcome.upper()} ({about})"]


def selftest(
    bundle: str | os.PathLike[str] | Bundle,
    *,
    backend: str = "auto",
    variant: str | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> SelftestReport:
    """Run variants on the golden set and compare with the answers in the bundle.

    A variant is ok when no probability differs from its own golden answers by more than the
    manifest's tolerance, and no top class differs where the golden margin between the two best
    classes is above the tolerance. Without a golden set each variant is loaded and must answer
    two random inputs with probabilities, twice the same; the report then says "not checked".

    Args:
        bundle: A bundle's folder or zip, or an opened one.
        backend: ``"auto"``: every variant whose backend is installed; or a backend's name.
        variant: The id of one variant.
        threads: CPU threads for one call.
        device: An OpenVINO device to run on, such as ``"GPU"``; each variant's own when None.

    Raises:
        BundleError: When the bundle is not exactly what its manifest says.
        UnavailableError: When the backend or device that was asked for, or every backend, is
            not here.
        UsageError: For a backend or variant that does not exist, or has no such device.
        ConfigError: For what is no name of a device.
    """
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(Path(bundle))
    chosen = variants_of(opened, backend=backend, variant=variant, device=device)
    missing = missing_backends()
    asked = backend != "auto" or variant is not None
    checks = []
    for one in chosen:
        reason = missing.get(one.variant.backend)
        if reason and not asked:
            checks.append(_check(one, "not here", note=reason))
        else:
            checks.append(_check_variant(opened, one, threads, asked))
    if all(check.outcome == "not here" for check in checks):
        raise UnavailableError(
            f"bundle {opened.location}",
            got="; ".join(sorted({f"{check.backend}: {check.note}" for check in checks})),
            expected="a backend of one of its variants"
            + ("" if device is None else f", on the device {device}"),
            fix="install one of these backends"
            if device is None
            else "leave the device out, or ask for one that is here",
        )
    golden = opened.golden
    return SelftestReport(
        bundle=opened.location,
        golden="none" if golden is None else golden.kind,
        inputs=0 if golden is None else len(golden),
        variants=tuple(checks),
    )


def _check_variant(
    bundle: Bundle, one: ManifestVariant, threads: int | None, asked: bool
) -> VariantCheck:
    try:
        with Classifier.from_bundle(bundle, one, threads=threads) as classifier:
            if bundle.golden is None:
                return _without_golden(classifier, one)
            return _against_golden(classifier, one, bundle.golden)
    except UnavailableError as error:
        if asked:
            raise
        return _check(one, "not here", note=str(error))
    except EdgetlError as error:
        # The other variants are still worth knowing about.
        return _check(one, "not ok", note=str(error))


def _against_golden(
    classifier: Classifier, one: ManifestVariant, golden: GoldenSet
) -> VariantCheck:
    manifest = classifier.manifest
    inputs: Sequence[Source] = golden.rows()
    got = answers(classifier.backend, inputs, manifest.input, classes=len(manifest.classes))
    want = golden.answers[one.variant.id]
    tolerance = golden.tolerance[one.variant.id]
    difference = float(np.abs(got.astype(np.float64) - want).max())
    flipped = got.argmax(axis=1) != want.argmax(axis=1)
    decided = _margin(want) > tolerance
    # Written so that a NaN is not ok.
    good = difference <= tolerance and not (flipped & decided).any()
    return _check(
        one,
        "ok" if good else "not ok",
        max_difference=difference,
        tolerance=tolerance,
        top1_agreement=float(1 - flipped.mean()),
        reference_agreement=float((got.argmax(axis=1) == golden.reference.argmax(axis=1)).mean()),
        note="" if good else "this device does not answer as the bundle says",
    )


def _without_golden(classifier: Classifier, one: ManifestVariant) -> VariantCheck:
    manifest = classifier.manifest
    inputs = _synthetic(manifest.input)
    first, again = (
        answers(classifier.backend, inputs, manifest.input, classes=len(manifest.classes))
        for _ in range(2)
    )
    if not np.array_equal(first, again):
        return _check(one, "not ok", note="two runs on one input gave two answers")
    return _check(
        one, "not checked", note=f"loads and answers {len(inputs)} random inputs; no golden set"
    )


def _synthetic(spec: ClassifierInput) -> list[Source]:
    random = np.random.default_rng(0)
    columns = {name: _drawn(part, random) for name, part in named_parts(spec).items()}
    if not isinstance(spec, SeveralInputs):
        return list(columns[spec.tensor.name])
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _drawn(spec: SingleInput, random: np.random.Generator) -> Array:
    if isinstance(spec, TensorInput):
        return random.standard_normal((_SYNTHETIC_INPUTS, *spec.shape), np.float32)
    return random.integers(0, 256, (_SYNTHETIC_INPUTS, spec.height, spec.width, 3), np.uint8)


def _margin(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    best = np.sort(probabilities, axis=1)
    margin: NDArray[np.float32] = best[:, -1] - best[:, -2]
    return margin


def _check(one: ManifestVariant, outcome: Outcome, **found: Any) -> VariantCheck:
    return VariantCheck(
        variant=one.variant.id, backend=one.variant.backend, outcome=outcome, **found
    )


def _line(check: VariantCheck) -> str:
    line = f"{check.variant}: {check.outcome}"
    if check.max_difference is not None and check.top1_agreement is not None:
        line += (
            f", largest difference {check.max_difference:.2g} (allowed {check.tolerance:g}), "
            f"top-1 agreement {check.top1_agreement:.1%}"
        )
    return f"{line}: {check.note}" if check.note else line
