"""One answer of a classifier, and the set of labels that it stands for."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle import ConformalTable
from edgetl.calibration.conformal import Method, label_scores
from edgetl.errors import UsageError
from edgetl.runtime.lookup import quantile_for


@dataclass(frozen=True, kw_only=True)
class LabelSets:
    """What sets of labels are made from, shared by all predictions of a classifier.

    Attributes:
        classes: The labels, in the order of the probabilities.
        table: The variant's quantiles, or None.
        variant: Its id, for messages.
    """

    classes: tuple[str, ...]
    table: ConformalTable | None
    variant: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """One answer.

    Attributes:
        label: The most probable class.
        index: Its place among the classes; of equal ones, the first.
        confidence: Its probability.
        probabilities: float32 [K], one per class, in the order of `Classifier.classes`; read-only.
        top: The most probable classes with their probabilities, the best first.
        entropy: Of the probabilities, in nats: 0 when certain, log K when all are equal.
        threshold: The variant's threshold that stands for the reference's that was asked for;
            None when none was.
        accepted: Whether the confidence is at least the threshold; None without one.
    """

    label: str
    index: int
    confidence: float
    probabilities: NDArray[np.float32]
    top: tuple[tuple[str, float], ...]
    entropy: float
    threshold: float | None = None
    accepted: bool | None = None
    _sets: LabelSets | None = field(default=None, repr=False)

    def set(self, coverage: float = 0.9, method: Method = "lac") -> tuple[str, ...]:
        """Labels among which the true one is, for at least this share of inputs.

        The promise holds on average over inputs like the calibration images, not for each kind
        of input, and not after the world has changed (docs/thresholds.md).

        Args:
            coverage: Above 0, at most 0.999. Between the coverages of the bundle's table the
                next higher one is taken, so that the set is never too small.
            method: ``"lac"``, the smallest sets on average, or ``"aps"``, larger ones for inputs
                that are hard.

        Returns:
            The labels, the most probable first. ``"lac"`` gives no label at all where none is
            probable enough: an input unlike those it was calibrated on. ``"aps"`` always gives
            the most probable one.

        Raises:
            UsageError: For a coverage that is not such or that the calibration images are too few
                for, another method, or a bundle without quantiles.

        Example:
            >>> table = ConformalTable(n=99, coverage=(0.8, 0.9), lac=(0.3, 0.7), aps=(0.2, 0.6))
            >>> answer = Prediction(
            ...     label="cat", index=0, confidence=0.5, top=(), entropy=1.0,
            ...     probabilities=np.array([0.5, 0.125, 0.375], np.float32),
            ...     _sets=LabelSets(classes=("cat", "cow", "dog"), table=table, variant="int8"),
            ... )
            >>> answer.set(coverage=0.9), answer.set(coverage=0.8), answer.set(0.8, "aps")
            (('cat', 'dog'), (), ('cat',))
        """
        if self._sets is None:
            raise UsageError(
                "prediction",
                got="one that no classifier made",
                expected="an answer of Classifier.predict",
                fix="call set on what predict returns",
            )
        quantile = quantile_for(self._sets.table, coverage, method, self._sets.variant)
        # In float64, exactly as the scores were when the quantile was taken from them.
        row = self.probabilities.astype(np.float64)[np.newaxis]
        inside = label_scores(row, method)[0] <= quantile
        order = np.argsort(-row[0], kind="stable")
        return tuple(self._sets.classes[at] for at in order if inside[at])
