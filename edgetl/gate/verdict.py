"""What a judgement says: per gate, per variant, and for a release."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from edgetl.gate.policy import Policy

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]
GateOutcome = Literal["PASS", "FAIL", "INCONCLUSIVE", "NOT JUDGED"]

EXIT_CODES: Mapping[Outcome, int] = MappingProxyType({"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 4})

LATENCY = "latency"
P90 = "p90_ratio"
P99 = "p99_ms"
SIZE = "size_mb"
MEMORY = "memory_mb"
SLICE = "slice:"
"""What the name of a slice's gate begins with; ``COLUMN=VALUE`` follows."""

MEASURED = frozenset({LATENCY, P90, P99, SIZE, MEMORY})
"""The gates that measurements decide, not images."""


def counted(gate: str) -> str:
    """What a gate's n and more_samples count.

    Example:
        >>> counted("nll"), counted("p99_ms")
        ('labelled inputs', 'measured calls')
    """
    if gate in (LATENCY, P90):
        return "rounds of measurement"
    if gate in MEASURED:
        return "measured calls"
    return "labelled inputs of the slice" if gate.startswith(SLICE) else "labelled inputs"


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """One harm against its limit.

    Attributes:
        name: ``top1_drop``, ``nll``, ``brier``, ``confidence_gap``, ``log_temperature_ratio``,
            ``flips``, ``worst_class``, ``slice:COLUMN=VALUE``, ``latency``, ``p90_ratio``,
            ``p99_ms``, ``size_mb`` or ``memory_mb``.
        estimate: The harm seen; None when the gate was not judged or the data say nothing of it.
        lower, upper: One-sided bounds of the harm, each at 1 − alpha; None where nothing bounds it.
        limit: The most harm that the policy allows.
        n: Images, of the slice for a slice; for latencies rounds of measurement, for ``p99_ms``
            calls, for size and memory 1.
        verdict: NOT JUDGED when there is no data for it; it then decides nothing.
        more_samples: How many further of what n counts would decide an INCONCLUSIVE gate with
            80 % power; 0 when it is decided; None when no number would, or it was not judged.
        detail: What the figures do not say, such as which class is the worst.
    """

    name: str
    estimate: float | None
    lower: float | None
    upper: float | None
    limit: float
    n: int
    verdict: GateOutcome
    more_samples: int | None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The judgement of one candidate.

    Attributes:
        verdict: PASS, FAIL or INCONCLUSIVE.
        gates: Every gate, judged or not.
        metrics: ``reference`` and ``candidate``: ``top1``, ``nll``, ``brier``, ``ece`` (15 bins of
            equal width), ``mean_entropy``. Reported, never gated by their difference.
        alpha: One-sided error rate that every bound was taken at.
        n: Images.
        notes: What was done to make the two fit, such as a reordering of classes.
    """

    verdict: Outcome
    gates: tuple[GateResult, ...]
    metrics: Mapping[str, Mapping[str, float]]
    alpha: float
    n: int
    notes: tuple[str, ...] = ()

    def gate(self, name: str) -> GateResult:
        """The gate of that name; KeyError when there is none."""
        for gate in self.gates:
            if gate.name == name:
                return gate
        raise KeyError(name)

    @property
    def more_samples(self) -> int | None:
        """How many further images of the same mix would decide every gate that images decide.

        0 when they are all decided; None when no number would.
        """
        wanted = 0
        for gate in self.gates:
            if gate.verdict == "INCONCLUSIVE" and gate.name not in MEASURED:
                if gate.more_samples is None:
                    return None
                # A slice counts its own images only, and gets its share of the further ones.
                share = gate.n / self.n if gate.name.startswith(SLICE) else 1.0
                wanted = max(wanted, math.ceil(gate.more_samples / share))
        return wanted

    @property
    def exit_code(self) -> int:
        """0, 1 or 4."""
        return EXIT_CODES[self.verdict]


@dataclass(frozen=True, kw_only=True)
class JudgedVariant:
    """A variant with its verdict."""

    id: str
    backend: str
    precision: str
    file: str
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class JudgedData:
    """The data that a verdict was taken on, and where the evidence lies.

    Attributes:
        name, split: Such as ``builtin:digits`` and ``test``.
        n: Images.
        hash: `Predictions.data_hash`.
        predictions: ``reference`` and each variant's id -> npz file, relative to the verdict.
        samples: Variant id -> npz file of latency samples with the arrays ``reference`` and the
            variant's id.
        bench: The JSON file that size and memory were taken from; empty without.
    """

    name: str
    split: str
    n: int
    hash: str
    predictions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    samples: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    bench: str = ""


@dataclass(frozen=True, kw_only=True)
class ComparedVariant:
    """A candidate as it was compared before the test split was opened.

    Attributes:
        eligible: Whether every harm seen is within what selection allows, and it is fast enough.
        chosen: Whether it is its backend's winner, which is then judged.
        reason: Why it was chosen or not.
        p50_ms: Median latency, milliseconds.
        metrics: As in a `Verdict`, of the candidate on `split`.
    """

    id: str
    backend: str
    eligible: bool
    chosen: bool
    reason: str
    p50_ms: float
    metrics: Mapping[str, float]
    split: str = "val"


@dataclass(frozen=True, kw_only=True)
class ReleaseVerdict:
    """What `edgetl.verdict/1` holds: every judged variant and what follows for the release.

    Attributes:
        required: The backends that must each have a variant that passes; empty means every
            backend that has a variant here.
        selection: Every candidate's place before the test split was opened; empty when there was
            no choice, as for stored predictions.
    """

    policy: Policy
    data: JudgedData
    variants: tuple[JudgedVariant, ...]
    required: tuple[str, ...] = ()
    selection: tuple[ComparedVariant, ...] = ()

    @property
    def without_variant(self) -> tuple[str, ...]:
        """The required backends that have no variant to judge: each makes the release FAIL."""
        judged = {variant.backend for variant in self.variants}
        return tuple(name for name in self.required if name not in judged)

    @property
    def verdict(self) -> Outcome:
        """PASS when every required backend has a variant that passes.

        A backend counts as its best variant, the release as its worst backend. A required backend
        without any variant to judge is a FAIL: there is nothing to ship for it.
        """
        best: dict[str, Outcome] = dict.fromkeys(self.required, "FAIL")
        for variant in self.variants:
            so_far = best.get(variant.backend, "FAIL")
            best[variant.backend] = _best((so_far, variant.verdict.verdict))
        backends: Sequence[str] = self.required or tuple(best)
        return _worst(best[name] for name in backends)

    @property
    def exit_code(self) -> int:
        """0, 1 or 4."""
        return EXIT_CODES[self.verdict]


_ORDER: tuple[Outcome, ...] = ("FAIL", "INCONCLUSIVE", "PASS")


def _best(outcomes: Iterable[Outcome]) -> Outcome:
    return max(outcomes, key=_ORDER.index)


def _worst(outcomes: Iterable[Outcome]) -> Outcome:
    # Nothing judged is nothing shown.
    return min(outcomes, key=_ORDER.index, default="INCONCLUSIVE")
