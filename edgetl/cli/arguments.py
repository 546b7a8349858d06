"""Arguments that several commands share, and the checks of what they name."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from edgetl.errors import UsageError
from edgetl.files import canonical_json, write_atomic


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``, ``--force`` and ``--quiet``."""
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the machine-readable result (- to print it)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite result files that exist")
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def positive_int(text: str) -> int:
    """An integer of at least 1.

    Example:
        >>> positive_int("2")
        2
    """
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, which is not a whole number of at least 1")
    return value


def check_file(path: Path, what: str) -> None:
    """Refuse a path that is not a file that can be read.

    Raises:
        UsageError: When nothing is there, a folder is, or it cannot be read.
    """
    if path.is_dir():
        raise UsageError(str(path), got="a folder", expected=what, fix="name the file inside it")
    if not path.exists():
        raise UsageError(
            str(path),
            got="nothing there",
            expected=what,
            fix=f"correct the path; it is relative to {Path.cwd()}"
            if not path.is_absolute()
            else "correct the path",
        )
    if not os.access(path, os.R_OK):
        raise UsageError(
            str(path), got="no permission to read it", expected=what, fix=f"chmod +r {path}"
        )


def check_outputs(options: argparse.Namespace, *names: str, inside: Path | None = None) -> None:
    """Refuse result files that cannot or must not be written, before any work is done.

    Args:
        options: The parsed options.
        names: The options that name result files.
        inside: An input folder that results must stay out of.

    Raises:
        UsageError: When a result exists without ``--force``, is a folder, lies in no folder, cannot
            be written, or lies inside the input.
    """
    for name in names:
        path: Path | None = getattr(options, name)
        if path is not None and str(path) != "-":
            _check_output(path, force=options.force)
            if inside is not None and inside.is_dir() and _within(path, inside):
                raise UsageError(
                    str(path),
                    got="a result inside the input",
                    expected=f"a place outside {inside}",
                    fix="name another file",
                )


def _check_output(path: Path, *, force: bool) -> None:
    if path.is_dir():
        raise UsageError(
            str(path), got="a folder", expected="a file to write", fix="name a file inside it"
        )
    if path.exists() and not force:
        raise UsageError(
            str(path),
            got="a file that exists",
            expected="a new file",
            fix="name another one, or add --force to overwrite it",
        )
    if not path.parent.is_dir():
        raise UsageError(
            str(path),
            got="no such folder",
            expected="an existing folder to write in",
            fix=f"mkdir -p {path.parent}",
        )
    if not os.access(path.parent, os.W_OK):
        raise UsageError(
            str(path),
            got="no permission to write there",
            expected="a folder that can be written",
            fix="name another file",
        )


def _within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def write_result(options: argparse.Namespace, value: object) -> None:
    """Write the machine-readable result to where ``--json`` says, if it does."""
    if options.json is None:
        return
    if str(options.json) == "-":
        sys.stdout.buffer.write(canonical_json(value))
        sys.stdout.flush()
    else:
        write_atomic(options.json, canonical_json(value))
