"""`edgetl choose`: which backbone to fine-tune, by what its features and this device say."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.cli.arguments import check_outputs, write_result
from edgetl.extras import extra

if TYPE_CHECKING:
    from edgetl.pipeline.choose_result import Choice


def choose_command(options: argparse.Namespace) -> int:
    """Compare, show the ranking; 0, or 1 when nothing fits, 2 or 3 when nothing was compared."""
    given = Path(options.data)
    check_outputs(options, "json", inputs=[given] if given.is_file() else [])
    choice = _compared(options)
    write_result(options, choice.to_json())
    if choice.exit_code in (2, 3) and len(choice.found) == 1:
        raise choice.errors[0]
    if not options.quiet and str(options.json) != "-":
        from edgetl.cli.choose_view import print_choice

        print_choice(choice)
    return choice.exit_code


def _compared(options: argparse.Namespace) -> Choice:
    with extra("gate"):
        from edgetl.cli.console import Console
        from edgetl.cli.release_commands import terminable
        from edgetl.pipeline.choose_config import ChooseRequest
    request = ChooseRequest(
        data=options.data,
        budget_ms=options.budget_ms,
        backbones=tuple(options.backbones),
        weights=options.weights,
        batch=options.batch,
        threads=options.threads,
        size=options.size,
        images=options.images,
    )
    with extra("report"):
        from edgetl.pipeline.choose import choose
    console = Console(quiet=options.quiet or str(options.json) == "-")
    with terminable(), console.progress() as listen:
        return choose(request, out=options.out, listen=listen)
