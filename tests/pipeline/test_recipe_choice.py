from __future__ import annotations

from typing import get_args

import pytest

from edgetl.pipeline.recipe_choice import FEW, MANY, SOME, UNEVEN, TrainFacts, choose_recipe
from edgetl.pipeline.sections import FinetuneSection
from edgetl.train.config import Augment, FinetuneConfig, Recipe


def facts(typical: int, *, classes: int = 10, commonest: int | None = None, **more) -> TrainFacts:
    return TrainFacts(
        **{"kind": "image"} | more,
        images=typical * classes,
        rarest=typical,
        typical=typical,
        commonest=commonest or typical,
    )


@pytest.mark.parametrize(
    ("typical", "weights", "recipe"),
    [
        (1, "imagenet", "linear-probe"),
        (FEW - 1, "letters", "linear-probe"),
        (FEW, "imagenet", "lp-ft"),
        (SOME - 1, "weights.safetensors", "lp-ft"),
        (SOME, "imagenet", "two-stage"),
        (MANY - 1, "pretrained", "two-stage"),
        (MANY, "imagenet", "full"),
        (1, "none", "full"),
        (MANY, "none", "full"),
    ],
)
def test_the_size_of_a_typical_class_chooses_the_recipe(
    typical: int, weights: str, recipe: str
) -> None:
    choice = choose_recipe(facts(typical), weights=weights)
    assert choice.recipe == recipe
    assert ("head_epochs" in choice.keys) == (recipe == "two-stage")
    assert ("learning_rate" in choice.keys) == (weights == "none")


@pytest.mark.parametrize(
    ("ratio", "typical", "expected"),
    [
        (UNEVEN - 0.1, 200, {}),
        (UNEVEN, 200, {"loss": "logit-adjusted"}),
        (UNEVEN, FEW - 1, {"sampler": "balanced"}),
        (100, 200, {"loss": "logit-adjusted"}),
    ],
)
def test_imbalance_weighs_the_loss_or_the_sampler_and_never_both(
    ratio: float, typical: int, expected: dict[str, str]
) -> None:
    rare = 10 * FEW if typical >= FEW else 1
    uneven = TrainFacts(
        kind="image", images=2000, rarest=rare, typical=typical, commonest=int(ratio * rare)
    )
    keys = choose_recipe(uneven, weights="imagenet").keys
    assert {name: keys[name].value for name in ("loss", "sampler") if name in keys} == (
        expected if uneven.imbalance >= UNEVEN else {}
    )


@pytest.mark.parametrize(
    ("seen", "weights", "augment"),
    [
        (facts(50, kind="tensor"), "none", "none"),
        (facts(5), "imagenet", "none"),
        (facts(50, strokes=True), "letters", "light"),
        (facts(50), "imagenet", "trivial"),
        (facts(50), "none", "trivial"),
        (facts(MANY), "imagenet", "light"),
    ],
)
def test_augmentation_suits_what_is_seen(seen: TrainFacts, weights: str, augment: str) -> None:
    assert choose_recipe(seen, weights=weights).keys["augment"].value == augment


@pytest.mark.parametrize(
    ("images", "weights", "batch", "epochs"),
    [
        (20, "imagenet", 8, 100),  # a probe of 2 a class: 1000 * 8 / 20 = 400, at most 100
        (721, "letters", 64, 40),  # 500 * 64 / 721 = 44.4, at most 40
        (721, "none", 64, 60),
        (6_400, "imagenet", 64, 5),
        (64_000, "none", 64, 10),
        (639, "none", 32, 60),
        (2_000, "imagenet", 64, 16),
    ],
)
def test_epochs_come_from_steps(images: int, weights: str, batch: int, epochs: int) -> None:
    keys = choose_recipe(facts(images // 10), weights=weights).keys
    exact = facts(images // 10)
    keys = choose_recipe(
        TrainFacts(
            kind="image",
            images=images,
            rarest=exact.rarest,
            typical=exact.typical,
            commonest=exact.commonest,
        ),
        weights=weights,
    ).keys
    assert (keys["batch_size"].value, keys["epochs"].value) == (batch, epochs)


def test_what_is_decided_is_followed_by_the_rest() -> None:
    choice = choose_recipe(facts(2000), weights="imagenet", recipe="linear-probe", batch_size=16)
    assert choice.recipe == "linear-probe" and choice.keys["recipe"].asked
    assert choice.keys["augment"].value == "none"
    assert choice.keys["batch_size"].value == 16
    assert choice.keys["epochs"].value == 10


def test_every_choice_can_be_trained_and_has_a_reason() -> None:
    for typical in (1, 5, 50, 500, 5000):
        for weights in ("none", "imagenet", "letters"):
            for ratio in (1, 50):
                seen = facts(typical, commonest=typical * ratio)
                keys = choose_recipe(seen, weights=weights).keys
                values = {key: one.value for key, one in keys.items()}
                section = FinetuneSection(architecture="resnet18", weights=weights, **values)
                assert section.recipe in get_args(Recipe)
                assert values["augment"] in get_args(Augment)
                FinetuneConfig(architecture="resnet18", weights="none", **values)
                assert all(len(one.why) > 10 for one in keys.values())


def test_reasons_name_their_source() -> None:
    reasons = " ".join(choose_recipe(facts(50, commonest=5000), weights="imagenet").reasons)
    for source in ("2202.10054", "1912.11370", "2007.07314", "2103.10158", "rule of thumb"):
        assert source in reasons
