"""What the benchmarks have in common: a table for a person, a JSON file with what made it."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgetl.bench.compare import Ratio
from edgetl.bench.machine import Activity, activity, disturbances, machine_facts
from edgetl.files import write_json

WIDTH = 100


def parser_of(docstring: str | None, *, out_required: bool = True) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    assert docstring is not None
    parser = argparse.ArgumentParser(
        description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=out_required, metavar="FILE.json")
    parser.add_argument("--quick", action="store_true", help="seconds, to see that it works")
    return parser


def note(text: str) -> None:
    """Say on standard error what is being done."""
    print(f"{Path(sys.argv[0]).stem}: {text}", file=sys.stderr, flush=True)


def show(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table, at most 100 columns wide; the first column is text, the others numbers."""
    # Text everywhere: a string is read as markup, and [0.95, 1.05] could be taken for a style.
    table = Table(box=SIMPLE_HEAD)
    for position, name in enumerate(head):
        table.add_column(Text(name), justify="right" if position else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row))
    terminal = sys.stdout.isatty()
    Console(width=None if terminal else WIDTH, highlight=False).print(Text(title), table)


def times(found: Ratio | None) -> str:
    """A ratio and its interval: ``3.42 [3.35, 3.50]``."""
    if found is None:
        return "-"
    return f"{found.estimate:.2f} [{found.lower:.2f}, {found.upper:.2f}]"


def write(
    options: argparse.Namespace,
    *,
    schema: str,
    before: Activity,
    settled: Mapping[str, bool] | None = None,
    body: Mapping[str, Any],
) -> None:
    """Write the result, with the command, the machine and what disturbed it; say the last."""
    facts = machine_facts()
    facts["warnings"] = disturbances(before, activity(), facts, settled=settled)
    for warning in facts["warnings"]:
        note(f"warning: {warning}")
    script = Path(sys.argv[0])
    document = {
        "schema": schema,
        "command": shlex.join(["python", f"benchmarks/{script.name}", *sys.argv[1:]]),
        "machine": facts,
        **body,
    }
    write_json(options.out, document)
    print(f"written to {options.out}")
