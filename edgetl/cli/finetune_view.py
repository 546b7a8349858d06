"""What `edgetl finetune` shows: what was chosen and why, the baselines, the trials of a search."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console as Screen
from rich.table import Table
from rich.text import Text

from edgetl.cli.console import WIDTH
from edgetl.pipeline.recipe_choice import Chosen, TrainFacts

if TYPE_CHECKING:
    from edgetl.pipeline.tune_result import SearchResult, SearchTrial

_MARGIN = 9
_OVERRIDE = {
    "architecture": "--architecture NAME",
    "weights": "--weights WEIGHTS",
    "recipe": "--recipe RECIPE",
    "epochs": "--epochs N",
    "batch_size": "--batch-size N",
}
_BEST_TRIALS = 5


def choice_lines(summary: str, facts: TrainFacts, choices: Mapping[str, Chosen]) -> Iterator[str]:
    """The data, then each choice with its reason and how to override it."""
    yield from _wrapped("data", summary)
    yield from _wrapped(
        "train",
        f"{facts.images:,} samples; of a class {facts.rarest:,} to {facts.commonest:,}, "
        f"typically {facts.typical:,}",
    )
    for key, one in choices.items():
        option = "" if one.asked else f" [{_OVERRIDE.get(key, f'--set {key}=VALUE')}]"
        if isinstance(one.value, dict):
            yield from _wrapped("chosen", f"[finetune.{key}]: {one.why}")
        else:
            yield from _wrapped("chosen", f"{key} = {one.value}: {one.why}{option}")


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"{head:<{_MARGIN}}",
        subsequent_indent=" " * _MARGIN,
        break_on_hyphens=False,
        break_long_words=False,
    )


def figures_line(epoch: Mapping[str, Any], count: int) -> str:
    """The kept epoch's figures on val."""
    return (
        f"val      top-1 {epoch['top1']:.4f}, NLL {epoch['nll']:.4f}, ECE {epoch['ece']:.4f} "
        f"(epoch {epoch['epoch']} of {count})"
    )


def check_lines(check: Mapping[str, Any]) -> Iterator[str]:
    """The baselines' figures beside the classifier's, the gap, and what it comes to."""
    for name, key in (("scratch", "from_scratch"), ("source", "source_model")):
        if check[key] is not None:
            one = check[key]
            yield f"{name:<{_MARGIN}}top-1 {one['top1']:.4f}, NLL {one['nll']:.4f} on val"
    gap = check["gap"]
    if gap is not None and gap.get("sentence"):
        yield from _wrapped("gap", gap["sentence"])
    yield from _wrapped("transfer", check["sentence"])


def next_line(config: Path) -> str:
    """What to run after a config was trained."""
    return f"next     edgetl release {shlex.quote(str(config))}"


def show_search(result: SearchResult, screen: Screen) -> None:
    """The best trials as a table, and how much each key mattered."""
    screen.print(_table(result))
    counts = {
        state: sum(one.state == state for one in result.trials)
        for state in ("complete", "pruned", "refused")
    }
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    more = f"; {result.running} still run in other processes" if result.running else ""
    screen.print(Text(f"trials   {said}{more}"), soft_wrap=True)
    if result.importance:
        shares = ", ".join(f"{key} {share:.0%}" for key, share in result.importance.items())
        screen.print(Text(f"matters  {shares} of the variance of val NLL (fANOVA)"), soft_wrap=True)


def _table(result: SearchResult) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    for name in ("trial", "val NLL", "top-1 %", "epoch"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("values")
    for one in result.ranked[:_BEST_TRIALS]:
        table.add_row(*_cells(one))
    return table


def _cells(one: SearchTrial) -> tuple[str, ...]:
    from edgetl.pipeline.tune_result import shown

    values = ", ".join(f"{key} {shown(value)}" for key, value in one.values.items())
    assert one.nll is not None and one.top1 is not None
    return (
        str(one.number),
        f"{one.nll:.4f}",
        f"{one.top1 * 100:.2f}",
        f"{one.best_epoch}/{one.epochs}",
        values,
    )
