"""What `edgetl inspect` says of a dataset. No torch, no rich."""

from __future__ import annotations

import argparse
import sys

from edgetl.cli.arguments import check_outputs, write_result
from edgetl.cli.messages import print_problem


def inspect_data(options: argparse.Namespace) -> int:
    """Print the dataset's card; 2 when a release would refuse it as a whole.

    Files that cannot be used are listed, all of them, and do not change the exit code.
    """
    from edgetl.data.card import dataset_card
    from edgetl.data.sources import source_place

    source = str(options.bundle)
    place = source_place(source)
    check_outputs(options, "json", inputs=[place], inside=place)
    watched = sys.stderr.isatty() and not options.quiet
    card = dataset_card(source, progress=_show_progress if watched else None)
    write_result(options, card.to_json())
    printed = not options.quiet and str(options.json) != "-"
    if printed:
        print("\n".join(card.lines()))
    else:
        for one in card.unusable:
            print_problem(f"cannot be used: {one.place}: {one.why}", as_error=True)
        if card.refusal is not None:
            print_problem(f"a release refuses this data: {card.refusal}", as_error=True)
    return 0 if card.refusal is None else 2


def _show_progress(done: int, total: int) -> None:
    end = "\n" if done == total else ""
    print(f"\rlooked at {done:,} of {total:,} pictures", end=end, file=sys.stderr, flush=True)
