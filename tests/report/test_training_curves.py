from __future__ import annotations

from edgetl.report.training_curves import MAX_TERMS, curves_of

EPOCHS = [
    {
        "epoch": e,
        "phase": "head" if e == 1 else "all",
        "loss": 2 / e,
        "nll": 1 / e,
        "top1": 1 - 0.4 / e,
        "ece": 0.1,
        "learning_rate": 3e-4 / e,
        "terms": {"l2-sp": 0.1 * e, "dann": -0.2},
    }
    for e in (1, 2, 3)
]


def test_losses_and_accuracy() -> None:
    losses, accuracy, *_ = curves_of(EPOCHS, 3, "train split, n = 900")
    assert (
        "3 epochs; epoch 3 was kept" in losses.caption and "Shaded: the first 1" in losses.caption
    )
    assert losses.scope == "train split, n = 900"
    assert "val NLL ends at 0.333" in losses.svg and "val top-1 ends at 86.667" in accuracy.svg


def test_the_learning_rate_is_shown_in_a_power_of_ten() -> None:
    rate = curves_of(EPOCHS, None, "")[2]
    assert rate.title == "Learning rate" and "× 10⁻⁴" in rate.svg
    assert "rate ends at 1.000" in rate.svg and "0.0003" in rate.caption


def test_each_term_has_its_curve() -> None:
    terms = curves_of(EPOCHS, None, "")[3]
    for said in ("l2-sp ends at 0.300", "dann ends at −0.200"):
        assert said in terms.svg


def test_more_terms_than_colours_are_said() -> None:
    many = {f"term {at}": float(at) for at in range(MAX_TERMS + 2)}
    terms = curves_of([{"epoch": 1, "terms": many}, {"epoch": 2, "terms": many}], 1, "")[-1]
    assert "2 more are not drawn" in terms.caption and f"term {MAX_TERMS}" not in terms.svg


def test_what_was_not_recorded_is_not_drawn() -> None:
    bare = [{"epoch": 1, "loss": 1.0, "terms": None}, {"epoch": 2, "loss": float("nan")}]
    losses, accuracy = curves_of(bare, None, "")
    assert "train loss ends at 1.000" in losses.svg and "ends at" not in accuracy.svg
