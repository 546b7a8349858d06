"""`edgetl waterfall`: where a candidate's answers move away from the reference's."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from edgetl.cli.arguments import check_file, check_outputs, write_result
from edgetl.extras import extra

if TYPE_CHECKING:
    from edgetl.pipeline.waterfall import Waterfall

SCHEMA = "edgetl.waterfalls/1"
_COMMAND = "waterfall"


def waterfall_command(options: argparse.Namespace) -> int:
    """Show the steps; 0 when they were measured, whatever they show."""
    check_outputs(options, "json", inputs=[options.config])
    check_file(options.config, "a release config (TOML)")
    found = _measured(options)
    with extra("export"):
        from edgetl.pipeline.waterfall import waterfall_to_json
    documents = [waterfall_to_json(one) for one in found]
    write_result(options, {"schema": SCHEMA, "waterfalls": documents})
    if not options.quiet and str(options.json) != "-":
        from edgetl.cli.waterfall_view import print_waterfalls

        print_waterfalls(found)
    return 0


def _measured(options: argparse.Namespace) -> tuple[Waterfall, ...]:
    with extra("gate"):
        from edgetl.cli.console import Console
        from edgetl.pipeline.events import Event
        from edgetl.pipeline.sections import WATERFALL_IMAGES
        from edgetl.pipeline.waterfall_run import default_variants, finished_run
    with extra("export"):
        from edgetl.pipeline.waterfall import waterfalls
    console = Console(quiet=options.quiet or str(options.json) == "-")
    began = time.monotonic()
    with (
        console.progress() as listen,
        finished_run(options.config, out=options.out, listen=listen) as context,
    ):
        names = default_variants(context) if options.variant is None else (options.variant,)
        images = options.images or context.config.report.waterfall_images or WATERFALL_IMAGES
        found = waterfalls(context, names, images=images)
        listen(Event(stage=_COMMAND, kind="done", seconds=time.monotonic() - began))
    return found
