"""The arguments of `edgetl gate` and `edgetl gate plan`, and what other commands share with it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgetl.cli import gate_command, gate_plan_command
from edgetl.cli.arguments import add_common, positive_int
from edgetl.cli.command_parser import Parser, add_command

WITHOUT_FOLDER = Path()
"""What `--unlabelled` holds when no folder follows it: this very object, for `.` equals it."""


def add_run(parser: Parser) -> None:
    """Add ``--out`` and ``--dry-run``, of a release's run."""
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run's folder (runs/NAME)")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the plan with time estimates, and write nothing",
    )


def add_judged(parser: Parser) -> None:
    """A release's CONFIG, or two stored predictions and what they are judged by."""
    parser.add_argument(
        "config", type=Path, nargs="?", metavar="CONFIG", help="the release's TOML file"
    )
    add_run(parser)
    _add_predictions(parser, "judge stored predictions (edgetl.predictions/1), not a release")
    _add_policy(parser)
    parser.add_argument(
        "--bench", type=Path, metavar="FILE", help="a stored edgetl.bench/1 for the latency gate"
    )
    parser.add_argument(
        "--variant", metavar="ID", help="the candidate's id in the bench file or in both bundles"
    )


def add_gate(commands: Any) -> None:
    """Add ``gate``, whose first word ``plan`` leads to a parser of its own."""
    parser = add_command(
        commands,
        "gate",
        "judge a release's winners, two bundles, or any two stored predictions",
        gate_command.gate_command,
        "edgetl gate examples/digits.toml",
        "edgetl gate --predictions REF.npz CAND.npz --policy policy.toml",
        "edgetl gate --bundles pets-1.0.edgetl pets-1.1.edgetl --data folder:photos",
        "edgetl gate --bundles pets-1.0.edgetl pets-1.1.edgetl --unlabelled photos",
        "edgetl gate plan --discordance 0.01",
    )
    add_judged(parser)
    parser.add_argument(
        "--bundles",
        type=Path,
        nargs=2,
        metavar=("OLD", "NEW"),
        help="judge a new bundle against an old one, on --data or --unlabelled",
    )
    parser.add_argument(
        "--data", metavar="SOURCE", help="labelled data, such as folder:DIR or csv:FILE"
    )
    parser.add_argument("--backend", metavar="NAME", help="of both bundles (auto)")
    parser.add_argument(
        "--unlabelled",
        type=Path,
        nargs="?",
        const=WITHOUT_FOLDER,
        metavar="DIR",
        help="certify without labels: the inputs in DIR; with --predictions, no DIR",
    )
    parser.add_argument(
        "--junit", type=Path, metavar="FILE", help="write the gates as JUnit XML (a file, never -)"
    )
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write a Markdown summary (a file, never -)"
    )
    parser.add_argument(
        "--annotations",
        choices=("github", "none"),
        default="none",
        help="print a line for each gate that did not pass, as the code host reads it (none)",
    )
    add_common(parser)
    parser.epilog = (
        f"{parser.epilog}\n\nedgetl gate plan --help says how many images a verdict needs; a "
        "config that is\ncalled plan is ./plan"
    )
    parser.words["plan"] = _plan_parser(f"{parser.prog} plan")


def _plan_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description="Say beforehand how many labelled images each gate needs, and all of them "
        "together, to pass a\ncandidate that is as good as its reference.",
        epilog="example:\n"
        "  edgetl gate plan --margin 0.02 --discordance 0.01 0.03 0.05\n"
        "  edgetl gate plan --policy policy.toml --classes 37 --power 0.9\n"
        "  edgetl gate plan --predictions REF.npz CAND.npz",
    )
    parser.set_defaults(command=gate_plan_command.gate_plan_command)
    _add_policy(parser)
    parser.add_argument(
        "--margin", type=share, metavar="D", help="accuracy drop allowed, 0.01 is one point"
    )
    parser.add_argument(
        "--class-margin", type=share, metavar="D", help="the same of the worst class (off)"
    )
    parser.add_argument(
        "--discordance",
        type=share,
        nargs="+",
        metavar="D",
        help="share of images that one of the two alone gets right, up to 5 (0.005 0.01 0.02)",
    )
    parser.add_argument("--classes", type=positive_int, metavar="K", help="number of classes")
    parser.add_argument(
        "--power",
        type=share,
        default=0.8,
        metavar="P",
        help="chance that an equally good candidate passes (0.8)",
    )
    _add_predictions(parser, "a pilot: labelled predictions to take the spreads from")
    add_common(parser)
    return parser


def share(text: str) -> float:
    """A number between 0 and 1, both excluded.

    Example:
        >>> share("0.01")
        0.01
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < 1.0:  # a NaN is not
        shown = text if len(text) <= 40 else text[:39] + "…"
        raise argparse.ArgumentTypeError(f"{shown!r}, which is not a number between 0 and 1")
    return value


def _add_policy(parser: Parser) -> None:
    parser.add_argument("--policy", type=Path, metavar="FILE", help="the limits, as TOML")


def _add_predictions(parser: Parser, text: str) -> None:
    parser.add_argument("--predictions", type=Path, nargs=2, metavar=("REF", "CAND"), help=text)
