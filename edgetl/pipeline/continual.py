"""Classes added later to a classifier, without forgetting the earlier ones; forgetting measured.

The new classifier starts as the old one: its body, and its head with a row for each new class
below the old rows, so that an old class keeps its index. Learning without forgetting and EWC then
hold it to the old answers and to the weights that mattered, without images of the old classes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgetl.data.store import SplitPart
from edgetl.errors import ConfigError, DataError
from edgetl.files import write_json
from edgetl.pipeline.forgetting import FORGETTING_FILE, Forgetting, measure_forgetting, part_at
from edgetl.pipeline.previous import (
    Previous,
    check_classes,
    read_previous,
    starting_weights,
    with_new_classes,
)
from edgetl.reference.checkpoint import load_classifier
from edgetl.reference.description import ClassifierDescription
from edgetl.train.config import FinetuneConfig
from edgetl.train.loop import FinetuneResult, finetune
from edgetl.train.progress import Progress
from edgetl.train.session import chosen_device, reproducible
from edgetl.train.terms.base import TermMaker
from edgetl.train.terms.checks import check_weight
from edgetl.train.terms.ewc import Ewc, fisher_of
from edgetl.train.terms.keep_answers import KeepAnswers
from edgetl.train.terms.own_softmax import OwnSoftmax

__all__ = [
    "Forgetting",
    "LearnedClasses",
    "Previous",
    "learn_classes",
    "measure_forgetting",
    "previous_terms",
    "read_previous",
    "report_forgetting",
    "starting_weights",
    "with_new_classes",
]

# Above it one class is drawn an image: every class would cost one backward pass an image.
_MOST_EXPECTED = 10
_FISHER_IMAGES = 200


def previous_terms(
    previous: Previous,
    config: FinetuneConfig,
    classes: tuple[str, ...],
    *,
    ewc: float = 0.0,
    lwf: float = 0.0,
    temperature: float = 2.0,
    own_softmax: bool = False,
    images: int | None = _FISHER_IMAGES,
    seed: int = 0,
) -> tuple[TermMaker, ...]:
    """The terms that hold a classifier to what it was; a weight of 0 leaves its term out.

    Args:
        previous: With `Previous.train` for EWC.
        config: How it is trained, and where.
        classes: All labels, the old ones first.
        ewc: The weight of `edgetl.train.terms.ewc.Ewc`.
        lwf: The weight of `edgetl.train.terms.keep_answers.KeepAnswers`.
        temperature: Of the latter.
        own_softmax: Beside `lwf`, whether new classes get a softmax of their own as in its paper
            (`edgetl.train.terms.own_softmax`). It belongs where no training image is of an old
            class: without it the old answers stay as they were among one another, and new
            classes take nearly all their images.
        images: How many images EWC's Fisher information is taken from; None for all. Up to 10
            classes it is the expectation over the model's own labels, above that one label an
            image is drawn from them.
        seed: Of these draws.

    Raises:
        ConfigError: For a weight below 0, NaN or infinite, EWC without the old images, fewer
            classes than before, another architecture or head than the old classifier's, a recipe
            that starts the head anew, or `own_softmax` beside another loss than plain
            cross-entropy.
    """
    check_weight("previous.ewc", ewc)
    check_weight("previous.lwf", lwf)
    check_classes(previous.classes, classes)
    _check_same(config, previous.description)
    known = len(previous.classes)
    terms: list[TermMaker] = []
    if lwf > 0:
        terms.append(KeepAnswers(weight=lwf, temperature=temperature, known=known))
        if own_softmax and len(classes) > known:
            _check_plain_loss(config)
            terms.append(OwnSoftmax(known=known))
    if ewc > 0:
        if previous.train is None:
            raise ConfigError(
                "previous.ewc",
                got=f"{ewc} and no images of the old task",
                expected="the images that the old classifier was trained on",
                fix="name the finished run that trained it, or take lwf, which needs none",
            )
        # A run goes on only with the same values, to the bit.
        with reproducible(config):
            fisher = fisher_of(
                previous.network,
                previous.train,
                description=previous.description,
                labels="expected" if known <= _MOST_EXPECTED else "sampled",
                images=images,
                seed=seed,
                device=chosen_device(config.device),
            )
        parameters = previous.network.named_parameters()
        anchors = {name: value.detach().clone() for name, value in parameters}
        terms.append(Ewc(weight=ewc, anchors=anchors, fisher=fisher))
    return tuple(terms)


def _check_plain_loss(config: FinetuneConfig) -> None:
    plain = {"loss": "cross-entropy", "class_weights": "none", "label_smoothing": 0.0}
    for name, value in plain.items():
        if getattr(config, name) != value:
            raise ConfigError(
                name,
                got=f"{getattr(config, name)!r}, with learning without forgetting",
                expected=f"{value!r}: new classes get a softmax of their own",
                fix=f"leave {name} out, or take ewc alone",
            )


def report_forgetting(
    previous: Previous,
    out: Path,
    *,
    val: SplitPart,
    seen: Collection[str] = (),
    code: Path | None = None,
) -> Forgetting | None:
    """Measure what a trained classifier forgot, and write ``forgetting.json`` beside it.

    Args:
        previous: The classifier that the training started from.
        out: The folder of the later classifier.
        val: Images labelled by its classes; those of new classes are asked.
        seen: The ids of the images that it was trained on, which are left out of the old ones.
        code: The folder of the module of a ``python:`` architecture.

    Returns:
        What was forgotten; None without held-out images of the old task, and nothing is written.

    Raises:
        ConfigError, CheckpointError, DataError: As `measure_forgetting` and `load_classifier`.
    """
    if previous.held_out is None:
        return None
    network, description = load_classifier(out, code=code)
    of_new = np.flatnonzero(val.labels >= len(previous.classes))
    new = part_at(val, of_new)
    forgetting = measure_forgetting(
        previous, network, description, new=new if len(of_new) else None, seen=seen
    )
    write_json(out / FORGETTING_FILE, forgetting.to_json())
    return forgetting


@dataclass(frozen=True, kw_only=True)
class LearnedClasses:
    """What `learn_classes` made: the training's result, all labels, and what was forgotten."""

    finetuned: FinetuneResult
    classes: tuple[str, ...]
    forgetting: Forgetting


def learn_classes(
    config: FinetuneConfig,
    previous: Previous,
    train: SplitPart,
    val: SplitPart,
    *,
    classes: tuple[str, ...],
    out: Path,
    ewc: float = 0.0,
    lwf: float = 1.0,
    temperature: float = 2.0,
    progress: Progress | None = None,
    code: Path | None = None,
) -> LearnedClasses:
    """Teach a classifier more classes from images of these alone, and say what it forgot.

    Args:
        config: How to train; its `weights` are not read, for the start is the old classifier.
        previous: From `read_previous`; `held_out` must be there, and `train` for EWC.
        train, val: Images of the new task. Old classes may be among them; of new ones alone
            these are trained in a softmax of their own beside `lwf`.
        classes: The names of their labels, in order: new ones, and old ones by their name.
        out: The result's folder: the checkpoint, history.json and forgetting.json.
        ewc, lwf, temperature: As `previous_terms`; both weights 0 is plain fine-tuning.
        progress, code: As `edgetl.train.loop.finetune`.

    Returns:
        The training's result, the labels (old, then new), and the forgetting.

    Raises:
        ConfigError: For another architecture or head than the old classifier's, no held-out
            images, or weights that cannot be used.
        CheckpointError, DataError: As `finetune`.

    Example:
        >>> import tempfile
        >>> from edgetl.reference.network import Mlp
        >>> from edgetl.spec import Head, TensorInput
        >>> images = np.eye(2, 4, dtype=np.float32)
        >>> part = SplitPart(ids=("x", "y"), labels=np.array([0, 1]), images=images)
        >>> description = ClassifierDescription(
        ...     architecture="mlp", input=TensorInput(shape=(4,)),
        ...     head=Head(layer="head", classes=("cat", "dog")))
        >>> # Of a finished run: first = read_previous(Path("runs/pets"))
        >>> first = Previous(network=Mlp(features=4, classes=2), description=description,
        ...                  held_out=replace(part, ids=("a", "b")))
        >>> config = FinetuneConfig(architecture="mlp", weights="none", recipe="full", epochs=1)
        >>> with tempfile.TemporaryDirectory() as out:
        ...     learned = learn_classes(config, first, part, part, classes=("cow", "hen"),
        ...                             out=Path(out), lwf=1.0)
        >>> learned.classes, learned.forgetting.old_images
        (('cat', 'dog', 'cow', 'hen'), 2)
    """
    if previous.held_out is None:
        raise ConfigError(
            "previous",
            got="no held-out images of the old task",
            expected="images on which forgetting can be seen",
            fix="read the classifier with its run, or give held_out",
        )
    every = with_new_classes(previous.classes, classes)
    taught, checked = (_relabelled(part, classes, every) for part in (train, val))
    terms = previous_terms(
        previous,
        config,
        every,
        ewc=ewc,
        lwf=lwf,
        temperature=temperature,
        own_softmax=bool((taught.labels >= len(previous.classes)).all()),
        seed=config.seed,
    )
    weights = starting_weights(previous, every, out, seed=config.seed, code=code)
    result = finetune(
        replace(config, weights=str(weights)),
        taught,
        checked,
        input=previous.description.input,
        classes=every,
        out=out,
        progress=progress,
        code=code,
        terms=terms,
    )
    forgetting = report_forgetting(previous, out, val=checked, seen=train.ids, code=code)
    assert forgetting is not None
    return LearnedClasses(finetuned=result, classes=every, forgetting=forgetting)


def _check_same(config: FinetuneConfig, description: ClassifierDescription) -> None:
    for name in ("architecture", "head_kind", "head_width"):
        asked, had = getattr(config, name), getattr(description, name)
        if asked != had:
            raise ConfigError(
                name,
                got=repr(asked),
                expected=f"{had!r}, as the previous classifier has",
                fix=f"set {name} to that",
            )
    for name, value in (("recipe", "lp-ft"), ("head_kind", "prototype")):
        if getattr(config, name) == value:
            raise ConfigError(
                name,
                got=f"{value!r}, which starts the head anew from the new images",
                expected="a head that keeps its old rows",
                fix="take another recipe, or a previous classifier with another kind of head",
            )


def _relabelled(part: SplitPart, names: tuple[str, ...], classes: tuple[str, ...]) -> SplitPart:
    """The same images with the labels' places in another list of classes."""
    if len(part.labels) and int(part.labels.max()) >= len(names):
        raise DataError(
            "images of the new classes",
            got=f"the label {int(part.labels.max())}",
            expected=f"0 to {len(names) - 1}, for {len(names)} classes",
            fix="name every class, in the order of the labels",
        )
    places = np.array([classes.index(name) for name in names], np.int64)
    return replace(part, labels=places[part.labels])
