"""`edgetl completion`: a shell script, made from the parser, that completes commands and files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.extras import extra

if TYPE_CHECKING:
    from edgetl.cli.parser import Parser

SHELLS = ("bash", "zsh", "fish", "tcsh")
"""The shells that a script is made for."""

INSTALL = """\
to try it in bash or zsh: source <(edgetl completion bash), or zsh

to install it, write the script where the shell looks for completions:
  bash  edgetl completion bash > ~/.local/share/bash-completion/completions/edgetl
        (without the package bash-completion: source the script in ~/.bashrc)
  zsh   edgetl completion zsh > ~/.zfunc/_edgetl
        (with `fpath=(~/.zfunc $fpath); autoload -U compinit; compinit` in ~/.zshrc)
  fish  edgetl completion fish > ~/.config/fish/completions/edgetl.fish
  tcsh  edgetl completion tcsh > ~/.edgetl.tcsh, and source that in ~/.tcshrc
"""
"""How to install each shell's script, for the command's help."""


def completion_command(options: argparse.Namespace) -> int:
    """Print the completion script of one shell."""
    # The parser imports this module for its commands.
    from edgetl.cli.parser import make_parser

    sys.stdout.write(completion_script(make_parser(), options.shell))
    return 0


def completion_script(parser: Parser, shell: str) -> str:
    """The script that completes a parser's commands, options and files.

    A CONFIG is completed to TOML files, a BUNDLE to .edgetl files and folders, a DIR to folders,
    any other path to any file.

    Args:
        parser: The whole command line, as `make_parser` gives it; its arguments are marked.
        shell: One of `SHELLS`.

    Raises:
        MissingExtraError: When shtab, which writes the script, is not installed.

    Example:
        >>> from edgetl.cli.parser import make_parser
        >>> "_shtab_edgetl" in completion_script(make_parser(), "bash")
        True
    """
    with extra("completion"):
        import shtab

    kinds: dict[str, Any] = {
        "CONFIG": shtab.glob("*.toml"),
        "BUNDLE": shtab.glob("*.edgetl"),
        # Data is named as folder:DIR and the like, which no shell completes; a bundle is a path.
        "BUNDLE|DATA": shtab.glob("*.edgetl"),
        # A config, or data: a folder or a file of another kind.
        "CONFIG|DATA": shtab.FILE,
        "DIR": shtab.DIRECTORY,
        "FILE": shtab.FILE,
    }
    for action in _actions(parser):
        kind = kinds.get(str(action.metavar))
        if kind is not None or action.type is Path:
            # The attribute in which shtab looks.
            vars(action)["complete"] = kind or shtab.FILE
    script: str = shtab.complete(parser, shell=shell, root_prefix="edgetl")
    return script if script.endswith("\n") else script + "\n"


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Every argument of a parser and of its commands' parsers."""
    found: list[argparse.Action] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                found += _actions(command)
        else:
            found.append(action)
    return found
