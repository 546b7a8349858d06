"""The arguments of `edgetl bench`."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from edgetl.bench.scenarios import SCENARIOS
from edgetl.cli import bench_command
from edgetl.cli.arguments import add_common, thread_count
from edgetl.cli.command_parser import add_command
from edgetl.cli.gate_parser import add_run


def add_bench(commands: Any, text: str) -> None:
    """Add ``bench``: a release's stage, a load scenario, the harness itself, or two of them."""
    parser = add_command(
        commands,
        "bench",
        text,
        bench_command.bench_command,
        "edgetl bench examples/digits.toml --save before.json",
        "edgetl bench examples/digits.toml --scenario server --qps 200",
        "edgetl bench --compare before.json after.json",
        "edgetl bench --compare pets-1.0.0.edgetl pets-1.1.0.edgetl --margin 0.05",
        "edgetl bench --null",
    )
    parser.set_defaults(stage="bench")
    parser.add_argument(
        "config", type=Path, nargs="?", metavar="CONFIG", help="the release's TOML file"
    )
    add_run(parser)
    parser.add_argument(
        "--scenario",
        choices=SCENARIOS,
        metavar="NAME",
        help="ask the candidates as MLPerf LoadGen does: " + ", ".join(SCENARIOS),
    )
    parser.add_argument(
        "--qps",
        type=positive_number,
        metavar="N",
        help="queries per second of the server scenario (half of what each candidate can answer)",
    )
    parser.add_argument(
        "--latency-ms",
        type=positive_number,
        metavar="MS",
        help="what 99 %% of the server scenario's latencies are to be within (ten calls' time)",
    )
    parser.add_argument(
        "--seconds",
        type=positive_number,
        metavar="S",
        help="for each candidate under load (10), or for two bundles (120)",
    )
    parser.add_argument(
        "--null",
        action="store_true",
        help="measure a backend that answers at once: the harness's own cost",
    )
    parser.add_argument(
        "--save", type=Path, metavar="FILE", help="store the result and its samples, a baseline"
    )
    parser.add_argument(
        "--compare",
        type=Path,
        nargs=2,
        metavar=("OLD", "NEW"),
        help="judge two stored results, or measure two bundles side by side and judge them",
    )
    parser.add_argument(
        "--margin",
        type=positive_number,
        metavar="SHARE",
        help="how much slower NEW may be (0.05)",
    )
    parser.add_argument("--variant", metavar="ID", help="of both bundles (each one's fastest)")
    parser.add_argument(
        "--threads", type=thread_count, metavar="N", help="for both bundles (all cores)"
    )
    add_common(parser)


def positive_number(text: str) -> float:
    """A finite number above zero.

    Example:
        >>> positive_number("0.05")
        0.05
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        shown = text if len(text) <= 40 else text[:39] + "…"
        raise argparse.ArgumentTypeError(f"{shown!r}, which is not a number above 0")
    return value
