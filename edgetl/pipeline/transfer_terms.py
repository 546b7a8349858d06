"""From the tables of ``[finetune]`` to what training takes: terms of the loss, and source data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from edgetl.errors import ConfigError
from edgetl.pipeline.config import training_config
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.continual import Previous, previous_terms, read_previous, starting_weights
from edgetl.pipeline.sections import (
    DistillationSection,
    FinetuneSection,
    KeepAnswersSection,
    PreviousSection,
    SourceSection,
)
from edgetl.pipeline.source_data import open_source
from edgetl.pipeline.transfer_files import checkpoint_in
from edgetl.train.feed import SourceData
from edgetl.train.terms.base import TermMaker
from edgetl.train.terms.coral import Coral
from edgetl.train.terms.dann import Dann
from edgetl.train.terms.distillation import Distillation, teacher_from
from edgetl.train.terms.joint import JointSource
from edgetl.train.terms.keep_answers import KeepAnswers, published_state
from edgetl.train.terms.l2_sp import L2Sp

_SUFFIX = ".safetensors"


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What the tables of ``[finetune]`` add to a training.

    Attributes:
        terms, sources: For `edgetl.train.loop.finetune`.
        weights: What training must start from in place of the section's own: the previous
            classifier with a row for each new class. None without ``[finetune.previous]``.
    """

    terms: tuple[TermMaker, ...] = ()
    sources: tuple[SourceData, ...] = ()
    weights: Path | None = None


def transfer_terms(context: StageContext, weights: str) -> Transfer:
    """Make the terms and open the source data that a config asks for.

    ``joint`` adds the source's cross-entropy by a head of its own. ``dann`` and ``coral`` add
    theirs beside that of the source's labels with weight 1, as in both papers; there `schedule`
    is of the labels' part, and `weight` of the domains'.

    Args:
        context: The finetune stage's.
        weights: What training starts from: the section's, or the file that "letters" became.

    Raises:
        ConfigError: For a weight below 0, a table about a body that never trains, answers to be
            kept of weights that have none, or a previous classifier of other classes.
        DataError: For a source that does not fit, is too small, or is judged on.
        CheckpointError: For a teacher or a previous classifier that cannot be used.
    """
    section = context.config.finetune
    if section is None:
        return Transfer()
    _check_body_trains(section)
    terms: list[TermMaker] = []
    start: Path | None = None
    if section.l2_sp is not None:
        terms.append(L2Sp(weight=section.l2_sp.weight, head_weight=section.l2_sp.head_weight))
    if section.keep_answers is not None:
        terms.append(_keep_answers(context, section, section.keep_answers, weights))
    if section.distillation is not None:
        terms.append(_distillation(context, section.distillation))
    if section.previous is not None:
        previous, start = previous_start(context, section.previous)
        terms += _previous_terms(context, section.previous, previous)
    sources: tuple[SourceData, ...] = ()
    if section.source is not None:
        terms += _source_terms(section.source)
        sources = (open_source(context, section.source),)
    return Transfer(terms=tuple(terms), sources=sources, weights=start)


def _source_terms(section: SourceSection) -> Iterator[TermMaker]:
    schedule = section.schedule or "constant"
    if section.method == "joint":
        yield JointSource(weight=section.weight, schedule=schedule)
        return
    yield JointSource(weight=1.0, schedule=schedule)
    yield Dann(weight=section.weight) if section.method == "dann" else Coral(weight=section.weight)


def _check_body_trains(section: FinetuneSection) -> None:
    """Refuse tables that are about the body where that never trains."""
    pulled = section.l2_sp is not None and section.l2_sp.head_weight == 0
    given = [name for name in ("source", "keep_answers") if getattr(section, name) is not None]
    given += ["l2_sp"] * pulled
    if section.recipe == "linear-probe" and given:
        raise ConfigError(
            f"[finetune.{given[0]}]",
            got="recipe = 'linear-probe', which freezes the body",
            expected="a body that trains: the table would change nothing",
            fix="write recipe = 'two-stage' or 'full', or take the table out",
        )


def _keep_answers(
    context: StageContext, section: FinetuneSection, table: KeepAnswersSection, weights: str
) -> KeepAnswers:
    source: Path | Mapping[str, Tensor]
    if weights.endswith(_SUFFIX):
        source = Path(weights)
    else:
        source = published_state(weights, section.architecture, context.input)
    return KeepAnswers(weight=table.weight, temperature=table.temperature, source_weights=source)


def _distillation(context: StageContext, section: DistillationSection) -> Distillation:
    teacher = teacher_from(
        checkpoint_in(Path(section.teacher)),
        input=context.input,
        classes=context.splits.classes,
        code=context.code,
    )
    return Distillation(
        teacher=teacher.answer,
        teacher_digest=teacher.digest,
        weight=section.weight,
        temperature=section.temperature,
    )


def previous_start(context: StageContext, section: PreviousSection) -> tuple[Previous, Path]:
    """The previous classifier, and the file that training starts from in its place.

    Raises:
        CheckpointError: When it cannot be read, or its head is no named layer.
        ConfigError: When the data's classes do not begin with its own.
        DataError: When its run is of other classes, or trained on images that the classifier to
            come is judged on.
    """
    previous = read_previous(
        Path(section.classifier),
        run=None if section.run is None else Path(section.run),
        code=context.code,
        judged=context.splits,
    )
    # Beside the training's own states, whose folder they share the life of.
    weights = starting_weights(
        previous,
        context.splits.classes,
        context.scratch / "previous",
        seed=context.config.seed,
        code=context.code,
    )
    return previous, weights


def _previous_terms(
    context: StageContext, section: PreviousSection, previous: Previous
) -> tuple[TermMaker, ...]:
    return previous_terms(
        previous,
        replace(training_config(context.config, weights="none"), threads=context.threads),
        context.splits.classes,
        ewc=section.ewc,
        lwf=section.lwf,
        temperature=section.temperature,
        seed=context.config.seed,
    )
