"""Which recipe suits a dataset: rules from its size, its balance and the weights there are.

Pure: numbers in, a choice and its reasons out. Each rule names what it is taken from; where no
publication gives the number, the reason calls it a rule of thumb. docs/recipes.md has what was
measured here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

# Training images of a typical class from which another recipe is chosen.
FEW, SOME, MANY = 10, 100, 1000
# How many times the commonest class may outnumber the rarest before it is weighed.
UNEVEN = 5.0
# Optimisation steps that the epochs add up to, and the fewest and most epochs that they may be.
_STEPS = {"scratch": (2000, 10, 60), "probe": (1000, 10, 100), "all": (500, 5, 40)}
_BATCHES = (64, 32, 16, 8)
_STEPS_OF_AN_EPOCH = 10
_HEAD_EPOCHS = 3
_WITH_A_HEAD_PHASE = ("two-stage", "gradual")

ASKED = "asked for"

_KUMAR = "Kumar 2022, arXiv:2202.10054"
_KORNBLITH = "Kornblith 2019, arXiv:1805.08974"
_MENON = "Menon 2020, arXiv:2007.07314"
_KANG = "Kang 2020, arXiv:1910.09217"
_BIT = "as BiT's HyperRule fixes steps by size, arXiv:1912.11370"
_HE = "He 2018, arXiv:1811.08883"
_TRIVIAL = "TrivialAugment, arXiv:2103.10158"
_THUMB = "a rule of thumb"


@dataclass(frozen=True, kw_only=True)
class TrainFacts:
    """What the rules look at.

    Attributes:
        kind: What the samples are.
        images: Of the train split.
        rarest, typical, commonest: Training images of the rarest class, the median one and the
            commonest; at least 1, in this order.
        strokes: Whether the pictures are small and grey, as drawn letters are.
    """

    kind: Literal["image", "tensor"]
    images: int
    rarest: int
    typical: int
    commonest: int
    strokes: bool = False

    @property
    def imbalance(self) -> float:
        """How many times the commonest class outnumbers the rarest; 1 when all are as common."""
        return self.commonest / self.rarest


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """One value of ``[finetune]``, and the sentence that says why."""

    value: Any
    why: str

    @staticmethod
    def by_wish(value: Any) -> Chosen:
        """A value that was asked for."""
        return Chosen(value=value, why=ASKED)

    @property
    def asked(self) -> bool:
        """Whether the value was asked for."""
        return self.why == ASKED


@dataclass(frozen=True, kw_only=True)
class RecipeChoice:
    """Values of ``[finetune]``, by key, in the order in which a config has them."""

    keys: Mapping[str, Chosen]

    @property
    def recipe(self) -> str:
        """Which parameters train when."""
        return str(self.keys["recipe"].value)

    @property
    def reasons(self) -> tuple[str, ...]:
        """A sentence for each value."""
        return tuple(f"{key} = {one.value}: {one.why}" for key, one in self.keys.items())


def choose_recipe(
    facts: TrainFacts, *, weights: str, recipe: str | None = None, batch_size: int | None = None
) -> RecipeChoice:
    """The values of ``[finetune]`` that suit a dataset, each with its reason.

    Args:
        facts: Of the train split.
        weights: What training starts from, as ``[finetune] weights`` has it: ``"none"`` is from
            scratch, everything else is taken to be pretrained.
        recipe: One that is already decided; the other choices follow it.
        batch_size: One that is already decided.

    Example:
        >>> facts = TrainFacts(kind="image", images=200, rarest=20, typical=20, commonest=20)
        >>> choose_recipe(facts, weights="imagenet").recipe
        'lp-ft'
        >>> choose_recipe(facts, weights="none").recipe
        'full'
    """
    chosen = _recipe(facts, weights) if recipe is None else Chosen.by_wish(recipe)
    batch = _batch(facts) if batch_size is None else Chosen.by_wish(batch_size)
    keys = {"recipe": chosen, "epochs": _epochs(facts, weights, chosen.value, batch.value)}
    if chosen.value in _WITH_A_HEAD_PHASE:
        keys["head_epochs"] = Chosen(
            value=_HEAD_EPOCHS, why=f"the new head is warm before the rest moves ({_THUMB})"
        )
    keys["batch_size"] = batch
    if weights == "none":
        rate = 3e-3 if facts.kind == "tensor" else 1e-3
        keys["learning_rate"] = Chosen(
            value=rate, why=f"nothing is there yet that a high rate would destroy ({_THUMB})"
        )
    return RecipeChoice(
        keys=keys | _balance(facts, chosen.value) | {"augment": _augment(facts, chosen.value)}
    )


def _recipe(facts: TrainFacts, weights: str) -> Chosen:
    seen = f"{facts.typical:,} training samples in a typical class"
    if weights == "none":
        return Chosen(value="full", why="from scratch there is nothing to keep: all of it trains")
    if facts.typical < FEW:
        return Chosen(
            value="linear-probe",
            why=f"{seen}: so few would bend pretrained features to themselves, so that only the "
            f"head trains ({_KUMAR}; below {FEW}: {_THUMB})",
        )
    if facts.typical < SOME:
        return Chosen(
            value="lp-ft",
            why=f"{seen}: the head is solved first, so that fine-tuning at a low rate distorts "
            f"the features less ({_KUMAR}; below {SOME}: {_THUMB})",
        )
    if facts.typical < MANY:
        return Chosen(
            value="two-stage",
            why=f"{seen}: enough to move every parameter, after the new head "
            f"({_KORNBLITH}; below {MANY:,}: {_THUMB})",
        )
    return Chosen(
        value="full",
        why=f"{seen}: enough to train every parameter from the start ({_KORNBLITH}; {_THUMB})",
    )


def _batch(facts: TrainFacts) -> Chosen:
    fitting = (size for size in _BATCHES if facts.images >= size * _STEPS_OF_AN_EPOCH)
    return Chosen(
        value=next(fitting, _BATCHES[-1]),
        why=f"at least {_STEPS_OF_AN_EPOCH} steps in an epoch of {facts.images:,} samples, "
        f"where {_BATCHES[-1]} to {_BATCHES[0]} allow it ({_THUMB})",
    )


def _epochs(facts: TrainFacts, weights: str, recipe: str, batch: int) -> Chosen:
    kind = "scratch" if weights == "none" else "probe" if recipe == "linear-probe" else "all"
    steps, least, most = _STEPS[kind]
    wanted = math.ceil(steps * batch / max(facts.images, 1))
    source = {"scratch": f"{_HE}: several times fine-tuning's", "probe": _BIT, "all": _BIT}[kind]
    return Chosen(
        value=min(max(wanted, least), most),
        why=f"about {steps:,} steps, within {least} to {most} epochs ({source}); it stops when val "
        "gets no better",
    )


def _balance(facts: TrainFacts, recipe: str) -> dict[str, Chosen]:
    if facts.imbalance < UNEVEN:
        return {}
    seen = (
        f"the commonest class has {facts.imbalance:.0f} times the samples of the rarest "
        f"(from {UNEVEN:g}: {_THUMB})"
    )
    if recipe == "linear-probe":
        return {
            "sampler": Chosen(
                value="balanced",
                why=f"{seen}: the head sees every class as often, the features stay ({_KANG})",
            )
        }
    return {
        "loss": Chosen(
            value="logit-adjusted",
            why=f"{seen}: rare classes are not given up for common ones ({_MENON}); probabilities "
            'are then of equally common classes: write "cross-entropy" where the shares are real',
        )
    }


def _augment(facts: TrainFacts, recipe: str) -> Chosen:
    if facts.kind == "tensor":
        return Chosen(value="none", why="shifts and flips are for pictures")
    if recipe == "linear-probe":
        return Chosen(value="none", why="the frozen features are computed once, not every epoch")
    if facts.strokes:
        return Chosen(value="light", why="shifts only: strokes do not bear flips, nor colours")
    if facts.typical < MANY:
        return Chosen(
            value="trivial",
            why=f"{facts.typical:,} samples in a typical class: pictures are varied strongly "
            f'({_TRIVIAL}); write "light" where colour or direction tells the classes',
        )
    return Chosen(value="light", why="shifts only: there are pictures enough")
