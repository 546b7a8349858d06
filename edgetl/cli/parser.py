"""The parser: every command with its arguments, its help and an example.

Nothing here imports a command's machinery: `--help` is quick and never loads torch.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edgetl.cli.command_parser import Parser
from edgetl.cli.device_parser import add_device_commands
from edgetl.cli.release_parser import STAGES, add_release_commands
from edgetl.version import __version__

__all__ = ["STAGES", "Parser", "command_names", "command_parsers", "make_parser"]

_EPILOG = """\
to begin:
  edgetl init --data folder:photos     writes photos.toml, a commented config
  edgetl release photos.toml           runs everything, up to a bundle with its proof

exit codes:
  0    done; for gate and release: PASS
  1    gate, release: FAIL; verify, selftest: this bundle or this device is not right;
       doctor: something to mend
  2    bad usage or bad input, or a fault of edgetl: one message, nothing written
  3    a backend or device that was asked for is not here
  4    gate, release: INCONCLUSIVE, with how many more labelled samples would decide it
  130  interrupted, nothing half-written
"""


def make_parser() -> Parser:
    """The whole command line.

    Example:
        >>> make_parser().parse_args(["verify", "a.edgetl"]).bundle
        PosixPath('a.edgetl')
    """
    parser = Parser(
        prog="edgetl",
        description="Ships the fastest version of a classifier that it can prove is still that "
        "classifier.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"edgetl {__version__}")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=Parser
    )
    add_release_commands(commands)
    add_device_commands(commands)
    return parser


def command_names(parser: Parser) -> Sequence[str]:
    """The names of all commands, in the order in which help lists them."""
    return list(command_parsers(parser))


def command_parsers(parser: Parser) -> dict[str, Parser]:
    """Each command's own parser, for the generated docs."""
    actions = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return dict(next(actions).choices)
