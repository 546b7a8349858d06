"""The inputs that are answered differently: as pictures where there are any, else as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from edgetl.gate.predictions import Predictions
from edgetl.report.blocks import Block, Cell, FlipCard, FlipCards, Grid, Note, Section
from edgetl.report.content import REFERENCE, Flip
from edgetl.report.facts import ReleaseFacts
from edgetl.report.numbers import clean, count, percent
from edgetl.report.pictures import pictures_of

MAX_SHOWN = 24


def section(facts: ReleaseFacts) -> Section | None:
    """The flips, worst first; found in the predictions when none were given with pictures."""
    flips = facts.data.flips or flips_of(facts)
    answers = facts.answers()
    if not flips and (REFERENCE not in answers or not facts.shown):
        return None
    ordered = in_order(flips)
    shown = ordered[:MAX_SHOWN]
    blocks: list[Block] = [Note(text=_count(facts, flips, len(shown)))]
    if any(flip.picture is not None for flip in shown):
        cards = tuple(_card(facts, flip) for flip in shown)
        ramp = any(len(card.pictures) > 1 for card in cards)
        blocks.append(FlipCards(cards=cards, ramp=ramp))
    elif shown:
        blocks.append(_table(facts, shown))
    return Section(
        id="flips",
        title="The answers that changed",
        read=(
            "Each input is one that the reference and a variant answer differently, the ones that "
            "the reference had right first; warm colours mark where hiding a patch costs each "
            "side's own answer the most probability."
            if any(flip.reference_map is not None for flip in shown)
            else "Each input is one that the reference and a variant answer differently, the ones "
            "that the reference had right first."
        ),
        blocks=tuple(blocks),
    )


def in_order(flips: Sequence[Flip]) -> list[Flip]:
    """Negative flips first, then the surest wrong answers, the same order each time."""
    return sorted(
        flips,
        key=lambda flip: (not flip.negative, -flip.candidate_probability, flip.variant, flip.index),
    )


def flips_of(facts: ReleaseFacts) -> tuple[Flip, ...]:
    """The flips that the predictions themselves show, without pictures."""
    answers = facts.answers()
    if REFERENCE not in answers:
        return ()
    found: list[Flip] = []
    for name in facts.shown:
        if answers[name].n == answers[REFERENCE].n:
            found += _between(answers[REFERENCE], answers[name], name)
    return tuple(found)


def _between(reference: Predictions, candidate: Predictions, variant: str) -> list[Flip]:
    names = reference.classes or tuple(str(k) for k in range(reference.k))
    ours, theirs = (one.probabilities.argmax(axis=1) for one in (reference, candidate))
    labels = reference.labels if reference.labels is not None else candidate.labels
    return [
        Flip(
            index=int(row),
            content_id=reference.ids[row] if reference.ids else "",
            label="unknown" if labels is None else names[labels[row]],
            reference_class=names[ours[row]],
            candidate_class=names[theirs[row]],
            reference_probability=float(reference.probabilities[row, ours[row]]),
            candidate_probability=float(candidate.probabilities[row, theirs[row]]),
            variant=variant,
            negative=labels is not None and bool(ours[row] == labels[row]),
        )
        for row in np.nonzero(ours != theirs)[0]
    ]


def _count(facts: ReleaseFacts, flips: Sequence[Flip], shown: int) -> str:
    if not flips:
        return f"No answer changed: {facts.scope()}."
    each = Counter(flip.variant for flip in flips)
    by_variant = ", ".join(f"{clean(name)} {found}" for name, found in sorted(each.items()))
    negative = sum(flip.negative for flip in flips)
    words = (
        f"{count(len(flips), 'answer')} changed ({by_variant}), {negative} of them from right to "
        f"wrong: {facts.scope()}."
    )
    return words + (f" The first {shown} are shown." if shown < len(flips) else "")


def kind_of(flip: Flip) -> str:
    """What the change means."""
    if flip.negative:
        return "right → wrong"
    return "wrong → right" if flip.candidate_class == flip.label else "wrong → wrong"


def _card(facts: ReleaseFacts, flip: Flip) -> FlipCard:
    return FlipCard(
        title=clean(flip.label),
        tone="fail" if flip.negative else "quiet",
        word=kind_of(flip),
        pictures=pictures_of(flip),
        answers=(
            (
                REFERENCE,
                clean(flip.reference_class),
                round(100 * flip.reference_probability),
                flip.reference_class == flip.label,
            ),
            (
                clean(flip.variant),
                clean(flip.candidate_class),
                round(100 * flip.candidate_probability),
                flip.candidate_class == flip.label,
            ),
        ),
        foot=f"{clean(facts.split)} #{flip.index} · {clean(flip.content_id)[:12]}",
    )


def _table(facts: ReleaseFacts, flips: Sequence[Flip]) -> Grid:
    return Grid(
        head=("variant", "#", "label", "reference", "its p", "variant's", "its p", "change"),
        rows=tuple(
            (
                Cell(text=clean(flip.variant)),
                Cell(text=str(flip.index), title=clean(flip.content_id, 80)),
                Cell(text=clean(flip.label)),
                Cell(text=clean(flip.reference_class)),
                Cell(text=percent(flip.reference_probability, 1)),
                Cell(text=clean(flip.candidate_class)),
                Cell(text=percent(flip.candidate_probability, 1)),
                Cell(text=kind_of(flip), tone="fail" if flip.negative else "quiet"),
            )
            for flip in flips
        ),
        numeric=frozenset({1, 4, 6}),
        scope=facts.scope(),
    )
