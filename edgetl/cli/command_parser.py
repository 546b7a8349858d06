"""argparse as edgetl speaks it: errors in four parts, the nearest name, help of one width."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from edgetl.errors import UsageError


class Parser(argparse.ArgumentParser):
    """argparse, with edgetl's errors and the nearest name for a misspelt one.

    Attributes:
        words: First words that lead to another parser, such as ``plan`` of ``edgetl gate plan``:
            a command with an optional argument of its own can have no commands below it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Formatter, allow_abbrev=False, **options)
        self.words: dict[str, Parser] = {}

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse's, but a command refuses what it does not know with its own usage."""
        if args and args[0] in self.words:
            return self.words[args[0]].parse_known_args(args[1:], namespace)
        known, rest = super().parse_known_args(args, namespace)
        if rest:
            raise self._usage_error(f"unrecognized arguments: {' '.join(rest)}", rest[0])
        return known, rest

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing argparse's own message."""
        raise self._usage_error(message)

    def _usage_error(self, message: str, option: str = "") -> UsageError:
        options = [one for one in self._option_string_actions if one.startswith("--")]
        near = difflib.get_close_matches(option.split("=")[0], options, n=1)
        return UsageError(
            "command line",
            got=message,
            expected="its usage: " + " ".join(self.format_usage().split()[1:]),
            fix=f"did you mean '{near[0]}'?" if near else f"{self.prog} --help",
        )

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        near = difflib.get_close_matches(str(value), choices, n=1)
        raise UsageError(
            str(action.metavar or action.dest),
            got=repr(value),
            expected="one of " + ", ".join(choices),
            fix=f"did you mean '{near[0]}'?" if near else f"{self.prog} --help",
        )


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        # One width wherever it is printed: docs/cli.md is generated from it.
        super().__init__(prog, width=96, max_help_position=28)
        # argparse forgets that command names are indented, and breaks the longest.
        self._action_max_length = 14


def add_command(
    commands: Any, name: str, text: str, run: Callable[[argparse.Namespace], int], *examples: str
) -> Parser:
    """A command's own parser, with its help and its examples."""
    epilog = "example:\n" + "\n".join(f"  {example}" for example in examples)
    parser: Parser = commands.add_parser(name, help=text, description=sentence(text), epilog=epilog)
    parser.set_defaults(command=run)
    return parser


def sentence(text: str) -> str:
    """A help line as a sentence."""
    return text[0].upper() + text[1:] + "."
