from __future__ import annotations

from dataclasses import replace

from edgetl.pipeline.choose_backbones import Backbone
from edgetl.pipeline.choose_rank import BackboneFound, VariantFound, judged, ranked, screened

ONE = Backbone(label="one", architecture="resnet18", weights="none")
SCORES = {"logme": 0.5, "probe_top1": 0.9, "probe_nll": 0.3}


def variant(
    id: str, p50: float, *, half: float = 0.1, harmless: bool | None = True, why: str = ""
) -> VariantFound:
    return VariantFound(
        id=id,
        p50_ms=p50,
        p50_interval_ms=(p50 - half, p50 + half),
        size_mb=1.0,
        harmless=harmless,
        why_not=why,
    )


def test_the_screen_drops_only_what_is_wholly_over_the_budget() -> None:
    slow = variant("ort-fp32", 5.0, half=0.2, harmless=None)
    assert screened(ONE, [slow], 4.9) is None
    dropped = screened(ONE, [slow, variant("ov-int8", 4.5)], 4.0)
    assert dropped is not None and dropped.verdict == "over budget" and dropped.scores is None
    assert dropped.fastest is not None and dropped.fastest.id == "ov-int8"
    assert "4.5 ms [4.4, 4.6], of 4" in dropped.reason
    assert screened(ONE, [slow, variant("ov-int8", 4.05)], 4.0) is None


def test_a_median_without_an_interval_is_not_trusted_to_a_quarter() -> None:
    unsure = replace(variant("ort-fp32", 4.0), p50_interval_ms=None)
    assert [judged(ONE, [unsure], SCORES, b).verdict for b in (4.9, 5.1)] == ["over budget", "ship"]
    assert screened(ONE, [unsure], 3.3) is None and screened(ONE, [unsure], 3.1) is not None


def test_an_interval_that_holds_the_budget_cannot_ship() -> None:
    found = judged(ONE, [variant("ort-fp32", 4.0, half=0.2)], SCORES, 4.1)
    assert found.verdict == "over budget"
    assert judged(ONE, [variant("ort-fp32", 4.0, half=0.2)], SCORES, 4.3).verdict == "ship"


def test_a_slower_candidate_that_surely_fits_is_taken_before_a_faster_one_that_may_not() -> None:
    wild, steady = variant("ov-fp32", 3.0, half=2.0), variant("ort-fp32", 3.5)
    found = judged(ONE, [wild, steady], SCORES, 4.0)
    assert found.verdict == "ship" and found.fastest == steady


def test_harm_within_the_budget_is_told_from_slowness() -> None:
    harmful = variant("ov-int8", 1.0, harmless=False, why="flips on val is 0.2")
    found = judged(ONE, [harmful, variant("ort-fp32", 9.0)], SCORES, 4.0)
    assert (found.verdict, found.told) == ("harms", "INT8 harms")
    assert "flips on val is 0.2" in found.reason and "ort-fp32 takes 9 ms" in found.reason
    assert found.fastest is not None and found.fastest.id == "ort-fp32"
    bf16 = variant("ov-bf16", 1.5, harmless=False)
    assert judged(ONE, [harmful, bf16], SCORES, 4.0).told == "INT8/BF16 harms"
    # What harms and is too slow as well is slow.
    assert judged(ONE, [variant("ov-int8", 6.0, harmless=False)], SCORES, 4.0).told == "over budget"


def test_a_harmless_candidate_within_the_budget_ships_whatever_a_faster_one_does() -> None:
    found = judged(
        ONE, [variant("ov-int8", 1.0, harmless=False), variant("ov-bf16", 3.0)], SCORES, 4.0
    )
    assert found.verdict == "ship" and found.fastest is not None
    assert found.fastest.id == "ov-bf16"


def test_the_ranking_is_by_transferability_then_by_nearness_and_failures_are_last() -> None:
    def found(label: str, verdict: str, logme: float, p50: float) -> BackboneFound:
        return BackboneFound(
            backbone=Backbone(label=label, architecture="resnet18", weights="none"),
            verdict=verdict,  # type: ignore[arg-type]
            reason="because",
            scores=SCORES | {"logme": logme},
            fastest=None if verdict == "failed" else variant("ort-fp32", p50),
        )

    order = ranked(
        [
            found("failed", "failed", 9.0, 0.0),
            found("far", "over budget", 9.0, 9.0),
            found("poor", "ship", 0.1, 1.0),
            found("near", "harms", 1.0, 5.0),
            found("good", "ship", 0.2, 3.0),
        ]
    )
    assert [(one.backbone.label, one.rank) for one in order] == [
        ("good", 1),
        ("poor", 2),
        ("near", None),
        ("far", None),
        ("failed", None),
    ]
