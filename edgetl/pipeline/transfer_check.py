"""What a check of negative transfer found, and how it is said.

Pan and Yang 2010, A survey on transfer learning, section 2.4: transfer is negative when the
target is learnt worse with the source than without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgetl import metrics
from edgetl.stats import newcombe, tango

SCHEMA = "edgetl.transfer-check/1"
TRANSFER_FILE = "transfer.json"

Baseline = Literal["from-scratch", "source-model"]
BASELINES: tuple[Baseline, ...] = ("from-scratch", "source-model")


@dataclass(frozen=True, kw_only=True)
class Side:
    """How one classifier does on the val split, before any temperature.

    Attributes:
        top1: 0..1.
        nll: In nats.
        ece: Of 15 bins of equal width.
        notes: How it was made, as plain data.
    """

    top1: float
    nll: float
    ece: float
    notes: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The figures and the notes in one table."""
        return {"top1": self.top1, "nll": self.nll, "ece": self.ece, **self.notes}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A baseline's top-1 minus the classifier's, on the same images.

    Attributes:
        only_baseline, only_this: Images that one of the two alone gets right.
        images: All images, each copy counted once.
        estimate: (only_baseline - only_this) / images.
        low, high: Tango's score interval of it, 95 %.
        newcombe_low, newcombe_high: Newcombe's, a second opinion.
    """

    only_baseline: int
    only_this: int
    images: int
    estimate: float
    low: float
    high: float
    newcombe_low: float
    newcombe_high: float

    @staticmethod
    def of(baseline: NDArray[np.bool_], this: NDArray[np.bool_]) -> Difference:
        """The difference of two classifiers.

        Args:
            baseline, this: Whether each of the same images is classified right, bool [n].

        Example:
            >>> right, wrong = np.ones(100, bool), np.zeros(100, bool)
            >>> one = Difference.of(right, wrong)
            >>> one.estimate, round(one.low, 3)
            (1.0, 0.926)
        """
        n = len(this)
        b, c = int((baseline & ~this).sum()), int((this & ~baseline).sum())
        both, neither = int((baseline & this).sum()), int((~baseline & ~this).sum())
        low, high = tango(b, c, n)
        second_low, second_high = newcombe(both, b, c, neither)
        return Difference(
            only_baseline=b,
            only_this=c,
            images=n,
            estimate=(b - c) / n,
            low=low,
            high=high,
            newcombe_low=second_low,
            newcombe_high=second_high,
        )

    @property
    def better(self) -> Literal["baseline", "this", "not shown"]:
        """Which side the interval shows to be better."""
        if self.low > 0:
            return "baseline"
        return "this" if self.high < 0 else "not shown"

    @property
    def points(self) -> str:
        """By how many points the one that does better does so, with the interval."""
        sign = -1 if self.estimate < 0 else 1
        ends = sorted((sign * self.low, sign * self.high))
        low, high = (100 * end for end in ends)
        return f"{100 * abs(self.estimate):.1f} points [{low:.1f}, {high:.1f}]"


@dataclass(frozen=True, kw_only=True)
class TransferCheck:
    """A classifier beside what other starts reach, on the val split.

    Attributes:
        this: The classifier.
        baselines: Those that were made, by name.
        differences: Of each of them from the classifier.
        missing: Why a baseline that was asked for could not be made, by name.
        gap: `edgetl.train.domain_gap.DomainGap.to_json`, or None without source data.
    """

    this: Side
    baselines: Mapping[Baseline, Side]
    differences: Mapping[Baseline, Difference]
    missing: Mapping[Baseline, str]
    gap: Mapping[str, Any] | None

    @property
    def negative(self) -> bool:
        """Whether training from scratch is shown to be better."""
        difference = self.differences.get("from-scratch")
        return difference is not None and difference.better == "baseline"

    @property
    def sentence(self) -> str:
        """For people."""
        said = [*_said_of_scratch(self.differences), *_said_of_source(self.differences)]
        said += [f"no {name} baseline: {why}" for name, why in self.missing.items()]
        images = next((one.images for one in self.differences.values()), None)
        scope = "" if images is None else f" (top-1 on {images} val images, one run each)"
        return "; ".join(said) + scope

    def to_json(self) -> dict[str, Any]:
        """The document ``edgetl.transfer-check/1``."""
        return {
            "schema": SCHEMA,
            "this": self.this.to_json(),
            "from_scratch": self._baseline("from-scratch"),
            "source_model": self._baseline("source-model"),
            "missing": dict(self.missing),
            "gap": None if self.gap is None else dict(self.gap),
            "negative": self.negative,
            "sentence": self.sentence,
        }

    def _baseline(self, name: Baseline) -> dict[str, Any] | None:
        if name not in self.baselines:
            return None
        difference = self.differences[name]
        compared = asdict(difference) | {"better": difference.better}
        return self.baselines[name].to_json() | {"minus_this": compared}


def side(
    raw_logits: NDArray[np.float32], labels: NDArray[np.int64], **notes: object
) -> tuple[Side, NDArray[np.bool_]]:
    """A classifier's figures, and which images it gets right.

    Args:
        raw_logits: [n, K].
        labels: [n].
        notes: How it was made.
    """
    probabilities = metrics.softmax(raw_logits)
    figures = Side(
        top1=metrics.top1(probabilities, labels),
        nll=metrics.nll(probabilities, labels),
        ece=metrics.ece(probabilities, labels),
        notes=notes,
    )
    return figures, metrics.correct(probabilities, labels)


def _said_of_scratch(differences: Mapping[Baseline, Difference]) -> list[str]:
    difference = differences.get("from-scratch")
    if difference is None:
        return []
    if difference.better == "baseline":
        return [f"negative transfer: from scratch is better by {difference.points}"]
    if difference.better == "this":
        return [f"transfer helped: better than from scratch by {difference.points}"]
    return [f"no effect of transfer shown: {_tendency(difference, 'from scratch')}"]


def _said_of_source(differences: Mapping[Baseline, Difference]) -> list[str]:
    difference = differences.get("source-model")
    if difference is None:
        return []
    frozen = "a solved head on the source's frozen features"
    if difference.better == "baseline":
        return [f"training harmed: {frozen} is better by {difference.points}"]
    if difference.better == "this":
        return [f"training helped: better than {frozen} by {difference.points}"]
    return [f"no effect of training shown: {_tendency(difference, frozen)}"]


def _tendency(difference: Difference, baseline: str) -> str:
    if difference.estimate == 0:
        return f"level with {baseline}, {difference.points}"
    if difference.estimate > 0:
        return f"{baseline} is ahead by {difference.points}"
    return f"ahead of {baseline} by {difference.points}"
