"""A document ``edgetl.waterfall/1``, read and checked."""

from __future__ import annotations

from dataclasses import dataclass

from edgetl.report.documents import (
    WATERFALL,
    Table,
    check_schema,
    figure,
    refuse,
    rows,
    table,
    text,
)
from edgetl.report.numbers import finite


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step on the way from the reference to a variant, or the whole way.

    Attributes:
        source, target: What is compared, in words.
        flips: Answers that change; None when the step was skipped, as the other figures.
        mean_kl: Nats.
        max_difference: The largest difference of a probability.
    """

    name: str
    source: str
    target: str
    flips: int | None
    flip_rate: float | None
    mean_kl: float | None
    max_difference: float | None
    note: str


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A quantized layer: its own SQNR, and that of its output with all before it quantized, dB."""

    name: str
    operator: str
    sqnr_db: float
    accumulated_db: float | None


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A loss waterfall: the steps in order, and the layers with the lowest SQNR."""

    variant: str
    split: str
    n: int
    steps: tuple[Step, ...]
    total: Step
    layers: tuple[Layer, ...]


def loss_of(document: object) -> Loss:
    """Read a document ``edgetl.waterfall/1``.

    Raises:
        GateError: When something in it is missing or of the wrong kind; the message names it.
    """
    document = check_schema(document, WATERFALL)
    n = figure(document, "n", WATERFALL)
    if n < 1:
        refuse(WATERFALL, f"n = {n:g}")
    return Loss(
        variant=text(document, "variant", WATERFALL),
        split=text(document, "split", WATERFALL),
        n=int(n),
        steps=tuple(
            _step(one, f"step {at}: ") for at, one in enumerate(rows(document, "steps", WATERFALL))
        ),
        total=_step(table(document, "total", WATERFALL), "total: "),
        layers=tuple(
            Layer(
                name=text(one, "name", WATERFALL, where="layer: "),
                operator=text(one, "operator", WATERFALL, where="layer: "),
                sqnr_db=figure(one, "sqnr_db", WATERFALL, where="layer: "),
                accumulated_db=finite(one.get("accumulated_db")),
            )
            for one in rows({"layers": document.get("layers", ())}, "layers", WATERFALL)
        ),
    )


def _step(one: Table, where: str) -> Step:
    skipped = one.get("skipped") is True
    found: dict[str, float | None] = {
        key: None if skipped else figure(one, key, WATERFALL, where=where)
        for key in ("flips", "flip_rate", "mean_kl", "max_difference")
    }
    flips = found.pop("flips")
    return Step(
        name=text(one, "name", WATERFALL, where=where),
        source=text(one, "from", WATERFALL, where=where),
        target=text(one, "to", WATERFALL, where=where),
        flips=None if flips is None else int(flips),
        flip_rate=found["flip_rate"],
        mean_kl=found["mean_kl"],
        max_difference=found["max_difference"],
        note=str(one.get("note") or ""),
    )
