from __future__ import annotations

import json

import numpy as np
import pytest

from edgetl.pipeline.transfer_check import Baseline, Difference, Side, TransferCheck, side
from edgetl.stats import newcombe, tango


def difference(both: int, only_baseline: int, only_this: int, neither: int) -> Difference:
    counts = (both, only_baseline, only_this, neither)
    baseline = np.repeat([True, True, False, False], counts)
    this = np.repeat([True, False, True, False], counts)
    return Difference.of(baseline, this)


def check(
    *,
    scratch: Difference | None = None,
    source: Difference | None = None,
    missing: dict[Baseline, str] | None = None,
) -> TransferCheck:
    figures = Side(top1=0.5, nll=1.0, ece=0.1, notes={"epochs": 3})
    named = {"from-scratch": scratch, "source-model": source}
    made = {name: one for name, one in named.items() if one is not None}
    return TransferCheck(
        this=figures,
        baselines=dict.fromkeys(made, figures),  # type: ignore[arg-type]
        differences=made,  # type: ignore[arg-type]
        missing=missing or {},
        gap=None,
    )


def test_a_difference_is_paired_with_tangos_and_newcombes_intervals() -> None:
    found = difference(both=60, only_baseline=6, only_this=16, neither=79)

    assert (found.only_baseline, found.only_this, found.images) == (6, 16, 161)
    assert found.estimate == pytest.approx(-10 / 161)
    assert (found.low, found.high) == tango(6, 16, 161)
    assert (found.newcombe_low, found.newcombe_high) == newcombe(60, 6, 16, 79)


@pytest.mark.parametrize(
    ("counts", "better", "negative", "words"),
    [
        ((600, 60, 30, 310), "baseline", True, "negative transfer: from scratch is better by 3.0"),
        ((600, 30, 60, 310), "this", False, "transfer helped: better than from scratch by 3.0"),
        ((600, 32, 30, 338), "not shown", False, "from scratch is ahead by 0.2 points [-1"),
        ((600, 30, 32, 338), "not shown", False, "ahead of from scratch by 0.2 points [-1"),
        ((600, 0, 0, 400), "not shown", False, "level with from scratch, 0.0 points [-"),
    ],
)
def test_harm_and_help_are_said_only_when_the_interval_shows_them(
    counts: tuple[int, int, int, int], better: str, negative: bool, words: str
) -> None:
    found = difference(*counts)
    whole = check(scratch=found)

    assert found.better == better
    assert whole.negative is negative
    assert words in whole.sentence
    assert "top-1 on 1000 val images, one run each" in whole.sentence


def test_the_interval_is_that_of_the_side_that_is_ahead() -> None:
    found = difference(600, 30, 60, 310)

    assert found.points == f"3.0 points [{-100 * found.high:.1f}, {-100 * found.low:.1f}]"
    assert found.high < 0


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((600, 60, 30, 310), "training harmed: a solved head on the source's frozen features is"),
        ((600, 30, 60, 310), "training helped: better than a solved head"),
        ((600, 30, 30, 340), "no effect of training shown: level with a solved head"),
    ],
)
def test_the_source_model_is_said_too_but_is_no_negative_transfer(
    counts: tuple[int, int, int, int], words: str
) -> None:
    whole = check(source=difference(*counts))

    assert words in whole.sentence
    assert not whole.negative


def test_a_baseline_that_could_not_be_made_is_said() -> None:
    whole = check(missing={"source-model": "training started from random weights"})

    assert whole.sentence == "no source-model baseline: training started from random weights"
    assert whole.to_json()["missing"] == {"source-model": "training started from random weights"}


def test_the_document_is_plain_data_with_both_baselines() -> None:
    whole = check(scratch=difference(600, 60, 30, 310), source=difference(600, 30, 60, 310))

    document = json.loads(json.dumps(whole.to_json()))

    assert document["schema"] == "edgetl.transfer-check/1"
    assert document["negative"] is True
    assert document["sentence"] == whole.sentence
    assert document["from_scratch"]["minus_this"]["better"] == "baseline"
    assert document["source_model"]["minus_this"]["better"] == "this"
    assert document["this"] == {"top1": 0.5, "nll": 1.0, "ece": 0.1, "epochs": 3}
    assert document["gap"] is None


def test_a_side_is_measured_on_raw_logits() -> None:
    raw_logits = np.array([[2.0, 1.0, -1.0], [0.0, 3.0, 0.0]], np.float32)

    figures, right = side(raw_logits, np.array([0, 2]), rate=0.1)

    assert right.tolist() == [True, False]
    assert figures.top1 == 0.5
    second = -np.log(1 / (2 + np.exp(3)))
    assert figures.nll == pytest.approx((-np.log(0.70538451) + second) / 2, rel=1e-6)
    assert figures.notes == {"rate": 0.1}
