"""Which backbones can ship within the budget, and in which order they are recommended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from edgetl.pipeline.candidates import CANDIDATES
from edgetl.pipeline.choose_backbones import Backbone

BackboneVerdict = Literal["ship", "over budget", "harms", "failed"]

_UNKNOWN = 1.25
"""What a median of too few rounds for an interval may be off by, as a factor: a cautious guess."""


@dataclass(frozen=True, kw_only=True)
class VariantFound:
    """One candidate of a backbone, as it was measured.

    Attributes:
        id: Of `edgetl.pipeline.candidates.CANDIDATES`.
        p50_ms: Median latency of a call at the comparison's batch and threads.
        p50_interval_ms: Its 95 % interval; None for too few rounds of a slow network.
        size_mb: Of its files, MiB.
        harmless: Whether the release's own choice would let it compete; None where no harm was
            measured, for the weights were random.
        why_not: What harm was seen.
        harms: Gate name -> ``estimate``, ``lower``, ``upper``, ``limit``, on held-out images
            against the FP32 network with the solved head.
    """

    id: str
    p50_ms: float
    p50_interval_ms: tuple[float, float] | None = None
    size_mb: float
    harmless: bool | None = None
    why_not: str = ""
    harms: Mapping[str, Mapping[str, float | None]] = field(
        default_factory=lambda: MappingProxyType({})
    )

    @property
    def precision(self) -> str:
        """Its precision, as a name: ``INT8``."""
        return str(CANDIDATES[self.id].precision).upper()

    @property
    def low(self) -> float:
        """The lower end of the interval; a fifth below the median where there is none."""
        ends = self.p50_interval_ms
        return self.p50_ms / _UNKNOWN if ends is None else ends[0]

    @property
    def high(self) -> float:
        """The upper end of the interval; a quarter above the median where there is none."""
        ends = self.p50_interval_ms
        return self.p50_ms * _UNKNOWN if ends is None else ends[1]

    def told(self) -> str:
        """Its latency in words.

        Example:
            >>> VariantFound(id="ov-int8", p50_ms=2.0, p50_interval_ms=(1.9, 2.2), size_mb=1).told()
            'ov-int8 takes 2 ms [1.9, 2.2]'
        """
        ends = self.p50_interval_ms
        interval = "" if ends is None else f" [{ends[0]:.3g}, {ends[1]:.3g}]"
        return f"{self.id} takes {self.p50_ms:.3g} ms{interval}"


@dataclass(frozen=True, kw_only=True)
class BackboneFound:
    """One backbone's place.

    Attributes:
        verdict: ``ship``; ``over budget``; ``harms``: what fits the budget harms; ``failed``.
        reason: One sentence.
        scores: Of `edgetl.train.transferability.Transferability`; None when it went no further
            than the screen.
        variants: Its candidates.
        fastest: The fastest that is harmless and, if there is one, within the budget; of a
            backbone that was only screened, the fastest.
        seconds: What each step took.
        rank: From 1, of those that can ship; None for the others.
        error: What stopped it, as `edgetl.pipeline.process.error_to_json` gives it.
    """

    backbone: Backbone
    verdict: BackboneVerdict
    reason: str
    scores: Mapping[str, Any] | None = None
    variants: tuple[VariantFound, ...] = ()
    fastest: VariantFound | None = None
    seconds: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    rank: int | None = None
    error: Mapping[str, str] | None = None

    @property
    def told(self) -> str:
        """The verdict as a table shows it: which precision harms is named."""
        if self.verdict != "harms":
            return self.verdict
        harmful = dict.fromkeys(one.precision for one in self.variants if one.harmless is False)
        return f"{'/'.join(harmful)} harms"


def screened(
    backbone: Backbone, variants: Sequence[VariantFound], budget_ms: float
) -> BackboneFound | None:
    """What the screen alone decides: None lets the backbone go on.

    Only a backbone whose every candidate has its whole interval over the budget is dropped.

    Example:
        >>> slow = VariantFound(id="ort-fp32", p50_ms=5.0, p50_interval_ms=(4.8, 5.3), size_mb=1)
        >>> one = Backbone(label="a", architecture="a", weights="none")
        >>> screened(one, [slow], 5.0), screened(one, [slow], 4.0).verdict
        (None, 'over budget')
    """
    if any(one.low <= budget_ms for one in variants):
        return None
    fastest = min(variants, key=lambda one: one.p50_ms)
    return BackboneFound(
        backbone=backbone,
        verdict="over budget",
        reason=f"its fastest, {fastest.told()}, of {budget_ms:g}; no feature was computed",
        variants=tuple(variants),
        fastest=fastest,
    )


def judged(
    backbone: Backbone,
    variants: Sequence[VariantFound],
    scores: Mapping[str, Any],
    budget_ms: float,
) -> BackboneFound:
    """The verdict of a backbone whose candidates were measured.

    It can ship when a harmless candidate's whole interval is within the budget.

    Example:
        >>> fast = VariantFound(id="ort-int8", p50_ms=1.0, size_mb=1, harmless=False)
        >>> slow = VariantFound(id="ort-fp32", p50_ms=5.0, size_mb=4, harmless=True)
        >>> one = Backbone(label="a", architecture="a", weights="none")
        >>> [judged(one, [fast, slow], {}, budget).told for budget in (9.0, 3.0, 0.5)]
        ['ship', 'INT8 harms', 'over budget']
    """
    harmless = [one for one in variants if one.harmless]
    within = [one for one in harmless if one.high <= budget_ms]
    harmful = [one for one in variants if not one.harmless and one.high <= budget_ms]
    fastest = min(within or harmless or variants, key=lambda one: one.p50_ms)
    verdict: BackboneVerdict = "ship" if within else "harms" if harmful else "over budget"
    if within:
        reason = f"{fastest.told()}, of {budget_ms:g}"
    elif harmful:
        tempting = min(harmful, key=lambda one: one.p50_ms)
        rest = f"; the fastest harmless, {fastest.told()}" if harmless else ""
        reason = f"{tempting.told()}, but {tempting.why_not}{rest}"
    else:
        # An interval that holds the budget does not show that the budget is kept.
        reason = f"its fastest, {fastest.told()}, of {budget_ms:g}"
    return BackboneFound(
        backbone=backbone,
        verdict=verdict,
        reason=reason,
        scores=scores,
        variants=tuple(variants),
        fastest=fastest,
    )


def ranked(found: Sequence[BackboneFound]) -> tuple[BackboneFound, ...]:
    """Who can ship by LogME, best first; then who cannot, the nearest to the budget first."""
    able = sorted(
        (one for one in found if one.verdict == "ship"),
        key=lambda one: -float((one.scores or {})["logme"]),
    )
    unable = sorted((one for one in found if one.verdict in ("over budget", "harms")), key=_latency)
    failed = [one for one in found if one.verdict == "failed"]
    first = [replace(one, rank=place) for place, one in enumerate(able, start=1)]
    return (*first, *unable, *failed)


def _latency(found: BackboneFound) -> float:
    assert found.fastest is not None
    return found.fastest.p50_ms
