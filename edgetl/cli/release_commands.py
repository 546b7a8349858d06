"""`edgetl release` and the commands that run a release up to one stage."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType
from typing import TYPE_CHECKING

from edgetl.cli.arguments import check_file, check_outputs, write_result
from edgetl.extras import extra

if TYPE_CHECKING:
    from edgetl.pipeline.release import ReleaseResult


def release_command(options: argparse.Namespace) -> int:
    """Run a whole release; 0, 1 or 4 by its verdict."""
    return _run_and_write(options, "report")


def stage_command(options: argparse.Namespace) -> int:
    """Run the stages up to one; 0, or for `bundle` the verdict's code."""
    return _run_and_write(options, options.stage)


def plan_command(options: argparse.Namespace, stage: str) -> int:
    """Print what a release up to `stage` would do; 0, 2 or 3."""
    check_file(options.config, "a release config (TOML)")
    with extra("gate"):
        from edgetl.cli.plan_view import dry_run
    return dry_run(options, stage)


def _run_and_write(options: argparse.Namespace, stage: str) -> int:
    check_outputs(options, "json", inputs=[options.config])
    if options.dry_run:
        return plan_command(options, stage)
    result = run_until(options, stage)
    write_result(
        options,
        {
            "schema": "edgetl.release/1",
            "stage": stage,
            "verdict": result.verdict,
            "folder": str(result.folder),
            "bundle": None if result.bundle is None else str(result.bundle),
            "report": None if result.report is None else str(result.report),
            "open_gates": list(result.open_gates),
            "rows": [asdict(row) for row in result.rows],
        },
    )
    return result.exit_code


@contextmanager
def terminable() -> Iterator[None]:
    """A job runner's SIGTERM ends a release as Ctrl-C does: stopped, cleaned up, resumable."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_until(options: argparse.Namespace, stage: str) -> ReleaseResult:
    """Run the stages of a config up to `stage`, showing progress and the closing table."""
    check_file(options.config, "a release config (TOML)")
    with extra("gate"):
        from edgetl.cli.console import Console
        from edgetl.pipeline.release import release
    console = Console(quiet=options.quiet or str(options.json) == "-")
    with terminable(), console.progress() as listen:
        result = release(options.config, out=options.out, until=stage, listen=listen)
    console.show_result(result, stage)
    return result
