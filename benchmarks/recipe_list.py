"""The recipes that `bench_recipes.py` compares: what each starts from, sets, and adds to the loss.

All have the same images, the same 100 steps of 40 images, the same augmentation and, as
candidates, as many learning rates or more where they have a weight to choose as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgetl.train.terms.base import TermMaker
from edgetl.train.terms.coral import Coral
from edgetl.train.terms.dann import Dann
from edgetl.train.terms.distillation import Distillation, teacher_from
from edgetl.train.terms.joint import JointSource
from edgetl.train.terms.keep_answers import KeepAnswers
from edgetl.train.terms.l2_sp import L2Sp

EPOCHS = 4
BATCH = 40
EPOCH_IMAGES = 1_000
"""An epoch is 25 steps, whatever the number of images: smaller sets are repeated in it."""

SHOTS = (5, 20, 100)
RATES = (1e-3, 3e-3, 1e-2)
_HEAD_RATES = (1e-2, 3e-2, 1e-1)

Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a term may need.

    Attributes:
        source_weights: The file that the network started from.
        teacher: Gives the folder of the network that was fine-tuned in full on the same images.
        input, classes, code: As `edgetl.train.loop.finetune` takes them.
    """

    source_weights: Path
    teacher: Callable[[], Path]
    input: Any
    classes: tuple[str, ...]
    code: Path


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One row of the comparison.

    Attributes:
        name: In the table.
        settings: Of `FinetuneConfig`, beside what all recipes share.
        tried: The candidates of which one is chosen, each as further settings; ``weight`` is the
            term's.
        start: The source network's weights, or random ones.
        terms: Makes what is added to the loss.
        sources: Whether source images are in every step.
        network: Of `small_networks`.
        shots: The sizes that it is run with.
    """

    name: str
    tried: tuple[Settings, ...]
    settings: Settings = field(default_factory=dict)
    start: Literal["source", "none"] = "source"
    terms: Callable[[float, Surroundings], tuple[TermMaker, ...]] | None = None
    sources: bool = False
    network: str = "residual"
    shots: tuple[int, ...] = SHOTS


def _rates(*rates: float) -> tuple[Settings, ...]:
    return tuple({"learning_rate": rate} for rate in rates or RATES)


def _weighted(*weights: float) -> tuple[Settings, ...]:
    pairs = itertools.product(RATES[1:], weights)
    return tuple({"learning_rate": rate, "weight": weight} for rate, weight in pairs)


def _distilled(weight: float, around: Surroundings) -> tuple[TermMaker, ...]:
    teacher = teacher_from(
        around.teacher(), input=around.input, classes=around.classes, code=around.code
    )
    return (Distillation(teacher=teacher.answer, teacher_digest=teacher.digest, weight=weight),)


def _kept(weight: float, around: Surroundings) -> tuple[TermMaker, ...]:
    return (KeepAnswers(weight=weight, source_weights=around.source_weights),)


FULL: Settings = {"recipe": "full", "epochs": EPOCHS}
_STAGES: Settings = {"head_epochs": 1, "epochs": EPOCHS - 1, "head_learning_rate": 3e-2}

RECIPES = (
    Recipe(name="scratch", start="none", settings=FULL, tried=_rates()),
    Recipe(
        name="linear probe",
        settings={"recipe": "linear-probe", "epochs": EPOCHS},
        tried=tuple({"head_learning_rate": rate} for rate in _HEAD_RATES),
    ),
    Recipe(name="two stages", settings={"recipe": "two-stage"} | _STAGES, tried=_rates()),
    Recipe(name="gradual", settings={"recipe": "gradual"} | _STAGES, tried=_rates()),
    Recipe(name="full", settings=FULL, tried=_rates()),
    Recipe(name="full, layer decay 0.7", settings=FULL | {"layer_decay": 0.7}, tried=_rates()),
    Recipe(name="full, stem frozen", settings=FULL | {"train_from": "block1"}, tried=_rates()),
    Recipe(name="probe, then full", settings=FULL | {"recipe": "lp-ft"}, tried=_rates()),
    Recipe(
        name="L2-SP",
        settings=FULL | {"weight_decay": 0.0},
        tried=_weighted(0.01, 0.1),
        terms=lambda weight, _: (L2Sp(weight=weight, head_weight=0.01),),
    ),
    Recipe(name="KL to source", settings=FULL, tried=_weighted(0.3, 1.0), terms=_kept),
    Recipe(
        name="joint",
        settings=FULL,
        tried=_weighted(0.3, 1.0),
        sources=True,
        terms=lambda weight, _: (JointSource(weight=weight, schedule="linear-down"),),
    ),
    Recipe(
        name="DANN",
        settings=FULL,
        tried=_weighted(0.1, 1.0),
        sources=True,
        terms=lambda weight, _: (JointSource(weight=1.0), Dann(weight=weight)),
    ),
    Recipe(
        name="CORAL",
        settings=FULL,
        tried=_weighted(1.0, 10.0),
        sources=True,
        terms=lambda weight, _: (JointSource(weight=1.0), Coral(weight=weight)),
    ),
    Recipe(
        name="scratch, taught by full",
        start="none",
        settings=FULL,
        tried=_weighted(0.5, 1.0),
        terms=_distilled,
    ),
    Recipe(name="full, cosine head", settings=FULL | {"head_kind": "cosine"}, tried=_rates()),
    Recipe(name="full, prototype head", settings=FULL | {"head_kind": "prototype"}, tried=_rates()),
    Recipe(name="full, MixUp 0.2", settings=FULL | {"mixup": 0.2}, tried=_rates(), shots=(20,)),
    Recipe(
        name="scratch, 4 x steps",
        start="none",
        settings=FULL | {"epochs": 4 * EPOCHS},
        tried=_rates(),
        shots=(20,),
    ),
    *(
        Recipe(
            name=f"ViT {name}",
            start=start,
            settings=settings,
            tried=tried,
            network="vit",
            shots=(20,),
        )
        for name, start, settings, tried in (
            ("scratch", "none", FULL, _rates()),
            ("scratch, 4 x steps", "none", FULL | {"epochs": 4 * EPOCHS}, _rates()),
            ("full", "source", FULL, _rates()),
            (
                "LoRA",
                "source",
                FULL | {"recipe": "lora", "lora_rank": 4, "lora_alpha": 8.0},
                _rates(3e-3, 1e-2, 3e-2),
            ),
        )
    ),
)

SCRATCH, FULL_NAME = "scratch", "full"


def compared_with(recipe: str) -> tuple[str, str]:
    """The two recipes of the same network that a recipe is compared with.

    Example:
        >>> compared_with("ViT LoRA")
        ('ViT scratch', 'ViT full')
    """
    network = "ViT " if recipe.startswith("ViT ") else ""
    return network + SCRATCH, network + FULL_NAME
