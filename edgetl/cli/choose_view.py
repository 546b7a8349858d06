"""A comparison of backbones on a screen: a row a backbone, why some cannot ship, what is next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from edgetl.cli.console import results_screen
from edgetl.pipeline.choose_rank import BackboneFound, VariantFound
from edgetl.pipeline.choose_result import PICTURE, Choice
from edgetl.report.numbers import DASH, clean, number

_HEADS = (
    "",
    "backbone",
    ">LogME",
    ">probe %",
    "fastest",
    ">p50 ms",
    ">pt lost, flips %",
    "verdict",
)
_STYLES = {"ship": "bold green", "over budget": "yellow", "harms": "bold red", "failed": "red"}
_NAME = 20


def print_choice(choice: Choice) -> None:
    """Print it; nothing is wider than 100 columns on a plain screen."""
    screen = results_screen()
    for part in _parts(choice):
        screen.print(part, markup=False, emoji=False)
    # Commands and paths are for copying: they are not broken into lines.
    for line in _next_steps(choice):
        screen.print(line, markup=False, emoji=False, soft_wrap=True)


def _parts(choice: Choice) -> Iterator[RenderableType]:
    data = choice.data
    plural = "" if choice.threads == 1 else "s"
    yield (
        f"{len(choice.found)} backbones for {data['classes']} classes, at most "
        f"{choice.budget_ms:g} ms a call of {choice.batch} on {choice.threads} thread{plural}"
    )
    yield _table(choice)
    yield (
        f"LogME and probe on {data['train']} training images; harm on {data['val']} held-out "
        "images, against FP32: top-1 points lost ≤ their 95 % bound, flips ≤ theirs"
    )
    for one in choice.found:
        if one.verdict != "ship":
            yield f"{clean(one.backbone.label, 60)}: {clean(one.reason, 600)}"
    yield Text(choice.sentence, style="bold")


def _next_steps(choice: Choice) -> Iterator[str]:
    if choice.next_step:
        yield f"next     {choice.next_step}"
    if (choice.folder / PICTURE).exists():
        yield f"picture  {choice.folder / PICTURE}"


def _table(choice: Choice) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    for head in _HEADS:
        right = head.startswith(">")
        table.add_column(
            head.removeprefix(">"), justify="right" if right else "left", overflow="fold"
        )
    names = choice.names
    for one in choice.found:
        name = names[one.backbone.label]
        # As texts: a name such as ":abc:" or "[red]" is neither a picture nor a colour.
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in _row(one, name)))
    return table


def _row(found: BackboneFound, name: str) -> tuple[str | Text, ...]:
    scores, fastest = found.scores, found.fastest
    return (
        DASH if found.rank is None else str(found.rank),
        clean(name, _NAME),
        DASH if scores is None else number(scores["logme"]),
        DASH if scores is None else f"{100 * scores['probe_top1']:.1f}",
        DASH if fastest is None else fastest.id,
        DASH if fastest is None else _latency(fastest),
        DASH if fastest is None else harm_told(fastest.harms),
        Text(found.told, style=_STYLES[found.verdict]),
    )


def _latency(variant: VariantFound) -> str:
    interval = variant.p50_interval_ms
    ends = "" if interval is None else f" [{interval[0]:.3g}, {interval[1]:.3g}]"
    return f"{variant.p50_ms:.3g}{ends}"


def harm_told(harms: Mapping[str, Mapping[str, Any]]) -> str:
    """Top-1 points lost and flips in percent: what was seen, and at most how much it is.

    Example:
        >>> harm_told({"top1_drop": {"estimate": -0.002, "upper": 0.011},
        ...            "flips": {"estimate": 0.004, "upper": None}})
        '−0.2≤1.1 0.4≤–'
        >>> harm_told({})
        '–'
    """
    if not harms:
        return DASH
    return " ".join(_bounded(harms.get(name, {})) for name in ("top1_drop", "flips"))


def _bounded(harm: Mapping[str, Any]) -> str:
    seen, upper = (harm.get(name) for name in ("estimate", "upper"))
    return "≤".join(number(None if value is None else 100 * value, 1) for value in (seen, upper))
