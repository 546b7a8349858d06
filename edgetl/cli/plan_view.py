"""`--dry-run`: the plan of a release as a person reads it."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console as Screen
from rich.table import Table
from rich.text import Text

from edgetl.cli.arguments import write_result
from edgetl.cli.console import results_screen
from edgetl.pipeline.plan import Plan, StagePlan
from edgetl.pipeline.release import plan_release
from edgetl.pipeline.toml_text import plain

_CHECK = "# CHECK "
_WORDS = {
    "done": "done before",
    "new": "will run",
    "again": "runs again",
    "perhaps": "may run again",
    "not allowed": "will not run",
}


def dry_run(options: argparse.Namespace, stage: str) -> int:
    """Print what a release up to `stage` would do, and write nothing of it.

    Raises:
        EdgetlError: After the plan was printed, when a check failed: what would stop the release.
    """
    plan = plan_release(options.config, out=options.out, until=stage)
    write_result(options, plan.to_json())
    if not options.quiet and str(options.json) != "-":
        screen = results_screen()
        show_plan(plan, screen)
        for doubt in _doubts(options.config):
            screen.print(Text(f"check    {doubt}"), soft_wrap=True)
    if plan.problem is not None:
        raise plan.problem
    return 0


def _doubts(config: Path) -> list[str]:
    """What `edgetl init` left for a person to look at, while its comments stand in the config."""
    lines = config.read_text(encoding="utf-8", errors="replace").splitlines()
    return [plain(line.removeprefix(_CHECK)) for line in lines if line.startswith(_CHECK)]


def show_plan(plan: Plan, screen: Screen) -> None:
    """Print a plan: what was checked, each stage, the total, where the results go."""

    def say(text: str) -> None:
        screen.print(Text(text), soft_wrap=True)

    say(f"{plan.name} {plan.version}, up to {plan.until}: a plan, nothing is written")
    for check in plan.checks:
        mark = Text("ok  ", style="green") if check.error is None else Text("NO  ", "bold red")
        screen.print(mark + Text(f"{check.what:<12} {check.detail}"), soft_wrap=True)
    screen.print(_table(plan.stages))
    say(f"time     {_total(plan)}")
    say(f"results  {plan.folder}/STAGE")


def _table(stages: tuple[StagePlan, ...]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    table.add_column("stage", no_wrap=True)
    table.add_column("plan", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("why, and how the time was estimated")
    for stage in stages:
        known = stage.runs and stage.seconds is not None
        time = _time(stage.seconds or 0.0) if known else "?" if stage.runs else ""
        reasons = "; ".join(part for part in (stage.why, stage.basis if known else "") if part)
        table.add_row(stage.name, _WORDS[stage.state], time, Text(reasons))
    return table


def _total(plan: Plan) -> str:
    if not any(stage.runs for stage in plan.stages):
        return "none: nothing is to be done"
    known = f"about {_time(plan.seconds)}"
    if not plan.unknown:
        return f"{known} in all"
    others = "stages whose time is unknown until they have run once (?)"
    return f"{known} and the {others}" if plan.seconds else f"only {others}"


def _time(seconds: float) -> str:
    """Seconds as a person says them.

    Example:
        >>> [_time(seconds) for seconds in (0.2, 42, 90, 7300)]
        ['0.2 s', '42 s', '1.5 min', '2.0 h']
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
